"""The command line: one file for each command, and the parts that they share."""


def script() -> None:
    """Run `avseg` as a program."""
    from avsegcli.cli.main import script as run

    run()
