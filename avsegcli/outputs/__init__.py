"""The files that are written for one video."""
