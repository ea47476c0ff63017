"""`python -m avsegcli`, the same as `avseg`."""

from avsegcli.cli import script

script()
