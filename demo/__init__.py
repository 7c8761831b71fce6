"""The embedded demonstration: drawn scenes, a tiny pre-trained backbone, and one command that trains and compares."""

import mmseg_wsss  # noqa: F401  works around version gaps before any module here imports mmseg or mmpretrain
