"""Metrics, and the loops that compute them."""
