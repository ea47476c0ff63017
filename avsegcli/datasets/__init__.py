"""Clips to learn from and to score on: from disk, or composed from parts."""
