import pytest

from avsegcli.config import load_config
from avsegcli.training import ablation


class BegunError(Exception):
    """Training would begin."""


@pytest.mark.parametrize("resumed", [False, True])
def test_a_row_that_goes_on_is_not_given_where_to_begin(
    toy_parts, untrained, tmp_path, monkeypatch, resumed
):
    given = {}

    def begin(*_, **options):
        given.update(options)
        raise BegunError

    monkeypatch.setattr(ablation, "start_training", begin)
    if resumed:
        run = tmp_path / "multi" / "row1-seed0"
        run.mkdir(parents=True)
        (run / "state.pt").touch()
    with pytest.raises(BegunError):
        ablation.run_ablation(
            load_config("lite"), toy_parts, tmp_path, rows=[1], sets=["multi"], init=untrained
        )
    assert (given["resume"], given["init"]) == (resumed, None if resumed else untrained)
