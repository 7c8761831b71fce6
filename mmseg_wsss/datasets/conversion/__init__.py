"""What the converters and the check of data sets are made of; not imported with the data sets."""
