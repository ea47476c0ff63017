import pytest
from rich.table import Table

from avsegcli.cli.tables import print_table


@pytest.mark.parametrize("columns", ["1", "40", "60", "80"])
def test_no_number_is_cut_on_a_narrow_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    table = Table(title="40 clips")
    table.add_column("model", footer="3 models")
    for name in ("measured", "avsbench J", "J&F", "mIoU", "silent area"):
        table.add_column(name, justify="right")
    table.add_column("clips\nin all", no_wrap=True)
    table.add_row("lite", "-10.00", "0.1234 ± 0.0123", "0.2345", "0.3456", "0.4567", "8 of 500")
    print_table(table)
    printed = capsys.readouterr().out
    for word in ("measured", "silent", "-10.00", "0.1234", "0.0123", "0.2345", "8 of 500"):
        assert word in printed
