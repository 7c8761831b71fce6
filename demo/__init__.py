"""The embedded demonstration: drawn scenes, a tiny pre-trained backbone, and one command that trains and compares."""
