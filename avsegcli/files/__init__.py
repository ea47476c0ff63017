"""Files on disk: atomic writes, checks before a run, and weights. No torch."""
