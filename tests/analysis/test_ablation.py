from pathlib import Path

import pytest

from avsegcli.analysis import ablation
from avsegcli.config import load_config
from avsegcli.errors import DataError


class BegunError(Exception):
    """Training would begin."""


@pytest.fixture
def begin(toy_parts, tmp_path, monkeypatch):
    """Call `run_ablation` for row 1 until it would train; returns what it would train with."""

    def start(**options):
        given = {}

        def note(*_, **options):
            given.update(options)
            raise BegunError

        monkeypatch.setattr(ablation, "start_training", note)
        with pytest.raises(BegunError):
            ablation.run_ablation(
                load_config("lite"), toy_parts, tmp_path, rows=["1"], sets=["multi"], **options
            )
        return given

    return start


@pytest.mark.parametrize("resumed", [False, True])
def test_a_row_that_goes_on_is_not_given_where_to_begin(begin, untrained, tmp_path, resumed):
    if resumed:
        run = tmp_path / "multi" / "row1-seed0"
        run.mkdir(parents=True)
        (run / "state.pt").touch()
    given = begin(init=untrained)
    assert (given["resume"], given["init"]) == (resumed, None if resumed else untrained)


def test_weights_of_a_name_are_the_same_in_any_working_directory(begin, tmp_path, monkeypatch):
    monkeypatch.setenv("AVSEG_HOME", str(tmp_path / "home"))
    weights = tmp_path / "home" / "weights" / "vggish" / "vggish-10086976.pth"
    weights.parent.mkdir(parents=True)
    weights.touch()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        assert begin(audio_weights=Path("vggish"))["audio_weights"] == weights


@pytest.mark.parametrize("content", ["", "{", "3", "[3]"])
def test_a_damaged_note_of_what_rows_began_with_is_told_in_one_line(toy_parts, tmp_path, content):
    (tmp_path / "start.json").write_text(content)
    with pytest.raises(DataError, match=r"start\.json is damaged"):
        ablation.run_ablation(load_config("lite"), toy_parts, tmp_path)


@pytest.mark.parametrize("content", ["", "{", "3", '{"row": 1}'])
def test_a_row_with_a_result_that_cannot_be_read_is_scored_anew(begin, tmp_path, content):
    run = tmp_path / "multi" / "row1-seed0"
    run.mkdir(parents=True)
    (run / "ablation-multi.json").write_text(content)
    assert begin()


def test_every_row_begins_with_the_same_backbone(begin, tmp_path):
    weights = tmp_path / "resnet50.pth"
    weights.touch()
    assert begin(backbone_weights=weights)["backbone_weights"] == weights
