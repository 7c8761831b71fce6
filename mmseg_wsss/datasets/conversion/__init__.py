"""Helpers of the data set converters and of the data set check; not imported with the data sets."""
