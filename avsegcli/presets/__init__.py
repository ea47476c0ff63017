"""Settings of the named models: only what differs from the defaults of `config.py`."""
