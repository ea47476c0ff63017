import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from avsegcli.cli import progress
from avsegcli.cli.progress import SpeedBars, event_table
from avsegcli.cli.tables import print_table
from avsegcli.outputs.frame_result import Summary
from avsegcli.outputs.timeline import Event


@pytest.mark.parametrize(("number", "more"), [(8, ""), (150, ", and 142 more")])
def test_of_many_times_the_first_are_shown(capsys, monkeypatch, number, more):
    monkeypatch.setenv("COLUMNS", "200")
    events = [Event("drum", float(second), second + 0.5, 0.9) for second in range(number)]
    print_table(event_table(Summary([], number, float(number), events, [])))
    shown = capsys.readouterr().out
    assert f"00:07.0-00:07.5{more} " in shown
    assert f" {number / 2:.1f}" in shown
    assert ("--timeline" in shown) == bool(more)


@pytest.mark.parametrize("columns", [40, 80])
def test_the_remaining_time_is_shown_on_narrow_terminals(monkeypatch, columns):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=columns)
    monkeypatch.setattr(progress, "open_console", lambda **_: console)
    job = SimpleNamespace(video=SimpleNamespace(name="holiday.mp4"))
    with SpeedBars(shown=True) as bars:
        bars.update(job, 1.0, 1000.0)
    assert "-:--:--" in shown.getvalue()
    assert ("x real time" in shown.getvalue()) == (columns == 80)
