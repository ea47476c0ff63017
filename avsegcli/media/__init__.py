"""Files to arrays and back. No torch."""
