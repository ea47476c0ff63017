"""Paint masks and class names on frames."""
