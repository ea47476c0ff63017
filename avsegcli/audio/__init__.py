"""Waveforms: loading, log-mel examples, noise and separation. No torch."""
