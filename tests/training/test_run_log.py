import csv

from avsegcli.training.run_log import RunLog


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_that_goes_on_with_other_losses_keeps_each_value_in_its_column(tmp_path):
    with RunLog(tmp_path, 0) as log:
        log.write_step({"step": 1, "loss": 3.0, "loss_heard": 2.0})
        log.write_step({"step": 2, "loss": 2.5, "loss_heard": 1.5})
        log.write_step({"step": 3, "loss": 2.0, "loss_heard": 1.0})
    with RunLog(tmp_path, 2) as log:
        log.write_step({"step": 3, "loss": 4.0, "loss_dice": 4.0})
        log.write_step({"step": 4, "loss": 3.5, "loss_dice": 3.5})
    assert rows(tmp_path / "log.csv") == [
        {"step": "1", "loss": "3.0", "loss_heard": "2.0", "loss_dice": ""},
        {"step": "2", "loss": "2.5", "loss_heard": "1.5", "loss_dice": ""},
        {"step": "3", "loss": "4.0", "loss_heard": "", "loss_dice": "4.0"},
        {"step": "4", "loss": "3.5", "loss_heard": "", "loss_dice": "3.5"},
    ]
