"""Waveforms: front end and mixing. No torch."""
