"""Fewer bits for the numbers of a TFLite file."""
