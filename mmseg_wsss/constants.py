"""Segmentation ids with a fixed meaning; class k (0..C-1) has id k + 1."""

BACKGROUND = 0
IGNORE = 255
