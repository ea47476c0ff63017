"""Losses, matching and the trainer."""
