"""Video files: decoding, tone mapping, encoding and muxing with PyAV. No torch."""
