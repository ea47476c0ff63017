import csv
import errno
from pathlib import Path

import pytest

from avsegcli.errors import AvsegError
from avsegcli.training.run_log import RunLog


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_that_goes_on_with_other_losses_keeps_each_value_in_its_column(tmp_path):
    with RunLog(tmp_path, 0) as log:
        log.write_step({"step": 1, "loss": 3.0, "loss_audio": 2.0})
        log.write_step({"step": 2, "loss": 2.5, "loss_audio": 1.5})
        log.write_step({"step": 3, "loss": 2.0, "loss_audio": 1.0})
    with RunLog(tmp_path, 2) as log:
        log.write_step({"step": 3, "loss": 4.0, "loss_dice": 4.0})
        log.write_step({"step": 4, "loss": 3.5, "loss_dice": 3.5})
    assert rows(tmp_path / "train_log.csv") == [
        {"step": "1", "loss": "3.0", "loss_audio": "2.0", "loss_dice": ""},
        {"step": "2", "loss": "2.5", "loss_audio": "1.5", "loss_dice": ""},
        {"step": "3", "loss": "4.0", "loss_audio": "", "loss_dice": "4.0"},
        {"step": "4", "loss": "3.5", "loss_audio": "", "loss_dice": "3.5"},
    ]


def test_columns_of_an_older_log_go_on_under_their_present_names(tmp_path):
    (tmp_path / "train_log.csv").write_text("step,loss,loss_heard\n1,3.0,2.0\n")
    (tmp_path / "val_log.csv").write_text("step,epoch,tpavi_j,tpavi_f\n1,1,0.5,0.4\n")
    with RunLog(tmp_path, 1) as log:
        log.write_step({"step": 2, "loss": 2.0, "loss_audio": 1.5})
        log.write_scores({"step": 2, "epoch": 2, "avsbench_j": 0.6, "avsbench_f": 0.5})
    assert [row["loss_audio"] for row in rows(tmp_path / "train_log.csv")] == ["2.0", "1.5"]
    scores = rows(tmp_path / "val_log.csv")
    assert list(scores[0]) == ["step", "epoch", "avsbench_j", "avsbench_f"]
    assert [row["avsbench_j"] for row in scores] == ["0.5", "0.6"]


def test_a_row_that_is_cut_off_is_dropped_when_the_run_goes_on(tmp_path):
    (tmp_path / "train_log.csv").write_text("step,loss\n10,3.0\n20,2.0\n3")
    with RunLog(tmp_path, 20) as log:
        log.write_step({"step": 40, "loss": 1.0})
    assert [row["step"] for row in rows(tmp_path / "train_log.csv")] == ["10", "20", "40"]


@pytest.mark.parametrize(
    "content", [b"step,loss\nten,3.0\n", b"a,b\n1,2\n", b"step,loss\n\xff,1\n"]
)
def test_a_damaged_log_is_told_in_one_line_and_stays_as_it_is(tmp_path, content):
    (tmp_path / "train_log.csv").write_bytes(content)
    with pytest.raises(AvsegError, match=r"log\.csv is damaged"), RunLog(tmp_path, 1):
        pass
    assert (tmp_path / "train_log.csv").read_bytes() == content


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_told_in_one_line(tmp_path):
    with RunLog(tmp_path, 0) as log:
        log.write_step({"step": 1, "loss": 3.0})
        (tmp_path / "train_log.csv").unlink()
        (tmp_path / "train_log.csv").symlink_to("/dev/full")
        with pytest.raises(AvsegError, match=r"cannot write .*log\.csv: no space left on device"):
            log.write_step({"step": 2, "loss": 2.0})


class FullBoard:
    """TensorBoard's writer on a full disk."""

    def add_scalar(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")

    close = add_scalar


def test_a_full_disk_of_tensorboard_is_told_in_one_line_too(tmp_path):
    log, message = RunLog(tmp_path, 0), r"cannot write .*tensorboard: no space left on device"
    log.board = FullBoard()
    with pytest.raises(AvsegError, match=message):
        log.write_step({"step": 1, "loss": 3.0})
    with pytest.raises(AvsegError, match=message):
        log.__exit__()


def test_an_epoch_that_was_interrupted_after_its_row_has_one_row(tmp_path):
    for _ in range(2):
        with RunLog(tmp_path, 4, epoch=0) as log:
            log.write_scores({"epoch": 1, "step": 4, "miou": 0.5})
    assert [row["epoch"] for row in rows(tmp_path / "val_log.csv")] == ["1"]
