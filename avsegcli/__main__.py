"""`python -m avsegcli`, the same as `avseg`."""

from avsegcli.cli.main import script

script()
