"""Data sets of labelled clips on disk."""
