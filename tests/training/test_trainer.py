import csv
import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import avsegcli.training.trainer
from avsegcli.config import load_config
from avsegcli.datasets.clip import Clip
from avsegcli.errors import AvsegError, ConfigError, DataError, WeightsError
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.training.data import StoredData
from avsegcli.training.ddp import DDP
from avsegcli.training.trainer import Trainer

SETTINGS = [
    "model.backbone=small",
    "optim.backbone_lr_factor=0.25",
    "optim.audio_lr_factor=0.1",
    "optim.frozen_affine=false",
    "model.codebook_warmup=[1, 5]",
    "optim.epochs=2",
    "optim.warmup_steps=0",
    "optim.frozen_stages=0",
    "optim.frozen_norm=false",
]
TINY = Path(__file__).parents[1] / "tiny.toml"
STEPS = 3  # an epoch


class Clips:
    """A grey picture whose left half sounds, or whose right half does: noise or a tone."""

    classes = ("background", "left", "right")

    def __init__(self, number):
        self.number = number

    def __len__(self):
        return self.number

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        side = index % 2
        labels = np.zeros((1, 32, 32), np.uint8)
        labels[0, :, 16 * side : 16 * side + 16] = 1 + side
        noise = rng.standard_normal(16_000) / 10
        tone = np.sin(np.arange(16_000) / (3 + rng.random())) / 2
        heard = np.zeros((1, 3), bool)
        heard[0, 1 + side] = True
        return Clip(
            name=f"clip {index}",
            frames=rng.integers(100, 150, (1, 32, 32, 3), np.uint8),
            waveform=(tone if side else noise).astype(np.float32),
            labels=labels,
            annotated=np.ones(1, bool),
            visible=labels,
            heard=heard,
        )


class Disturbed:
    """Training data with which something happens before a certain batch."""

    def __init__(self, data, before, happen):
        self.data, self.left, self.happen = data, before, happen
        self.classes, self.batches_per_epoch = data.classes, data.batches_per_epoch

    def batches(self, epoch, skip=0):
        for batch in self.data.batches(epoch, skip):
            if self.left == 0:
                self.happen(batch)
            self.left -= 1
            yield batch


class PowerCutError(Exception):
    pass


def raises(error):
    def happen(_batch):
        raise error

    return happen


def make_trainer(run, *settings, clips=STEPS * 2, disturb=None, val=None, said=None):
    """A trainer of a tiny model; `disturb` is (number of good batches, what then)."""
    config = load_config("lite", TINY, [*SETTINGS, *settings])
    train = StoredData(Clips(clips), config.data, config.optim.seed)
    return Trainer(
        config,
        run,
        train if disturb is None else Disturbed(train, *disturb),
        Clips(2) if val is None else val,
        ddp=DDP(torch.device("cpu")),
        name="tiny",
        report=lambda line: said.append(line) if said is not None else None,
    )


def take(trainer):
    """The batches of the first step."""
    return list(itertools.islice(trainer.train.batches(0), trainer.config.optim.accumulate))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def learned(run):
    """What must be the same if two runs are: each step's losses, each epoch's scores, the end."""

    def log(name):  # but for what is measured since the run was last started
        fresh = ("clips_per_s", "waiting")
        return [
            {key: value for key, value in row.items() if not key.startswith(fresh)}
            for row in rows(run / name)
        ]

    return log("train_log.csv"), log("val_log.csv"), (run / "last.safetensors").read_bytes()


@pytest.fixture(autouse=True)
def _log_each_step(monkeypatch):
    monkeypatch.setattr(avsegcli.training.trainer, "LOG_EVERY", 1)


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "whole_run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(avsegcli.training.trainer, "LOG_EVERY", 1)
        make_trainer(run).fit()
    return run


def test_a_run_folder_holds_what_is_promised(whole_run):
    assert {path.name for path in whole_run.iterdir()} - {"tensorboard"} == {
        "panels",
        "config.json",
        "train_log.csv",
        "val_log.csv",
        "best.safetensors",
        "last.safetensors",
        "state.pt",
    }
    config = json.loads((whole_run / "config.json").read_text())
    assert config["classes"] == ["background", "left", "right"]
    assert config["model"]["hidden_dim"] == 16


def test_the_logs_say_what_happened_in_numbers(whole_run):
    steps, scores = rows(whole_run / "train_log.csv"), rows(whole_run / "val_log.csv")
    assert [int(row["step"]) for row in steps] == [1, 2, 3, 4, 5, 6]
    assert [int(row["epoch"]) for row in steps] == [0, 0, 0, 1, 1, 1]
    terms = [key for key in steps[0] if key.startswith("loss_")]
    assert {"loss_mask", "loss_dice", "loss_classes", "loss_box", "loss_giou"} <= set(terms)
    assert {"loss_quantization", "loss_audio", "loss_visible"} <= set(terms)
    for row in steps:
        assert float(row["loss"]) == pytest.approx(sum(float(row[key]) for key in terms), rel=1e-5)
        assert 0 < float(row["codebook_usage"]) <= 1
        assert 0 <= float(row["waiting"]) <= 1
    assert [(row["epoch"], row["step"]) for row in scores] == [("1", "3"), ("2", "6")]
    assert all(0 <= float(row["avsbench_j"]) <= 1 for row in scores)
    assert {"miou_present", "j_object", "silent_area"} <= set(scores[0])


@pytest.mark.parametrize("name", ["best", "last"])
def test_validation_writes_checkpoints_that_load(whole_run, name):
    loaded = load_checkpoint(whole_run / f"{name}.safetensors")
    assert loaded.classes == ("background", "left", "right")
    assert (loaded.name, loaded.config.hidden_dim) == ("tiny", 16)


def test_the_last_checkpoint_holds_the_averaged_weights(whole_run):
    average = torch.load(whole_run / "state.pt", weights_only=True)["average"]["state"]
    state = load_checkpoint(whole_run / "last.safetensors").model.state_dict()
    assert all(torch.equal(state[key], average[key]) for key in state)


def test_ctrl_c_saves_the_state_and_the_run_goes_on_as_if_unbroken(whole_run, tmp_path):
    said = []
    broken = make_trainer(tmp_path, disturb=(1, raises(KeyboardInterrupt)), said=said)
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    assert said[-1] == f"stopped at step 1; go on with --resume {tmp_path}"
    resumed = make_trainer(tmp_path)
    resumed.resume()
    resumed.fit()
    assert learned(tmp_path) == learned(whole_run)


def test_a_killed_run_goes_on_from_its_last_saved_step_and_logs_no_step_twice(
    whole_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(avsegcli.training.trainer, "SAVE_EVERY", 2)
    with pytest.raises(PowerCutError):
        make_trainer(tmp_path, disturb=(5, raises(PowerCutError))).fit()
    assert len(rows(tmp_path / "train_log.csv")) == 5
    resumed = make_trainer(tmp_path)
    resumed.resume()
    assert resumed.progress.step == 4
    resumed.fit()
    assert learned(tmp_path) == learned(whole_run)


@pytest.mark.parametrize("clips", [3, 5])  # for the first picture; to score the second time
def test_ctrl_c_in_validation_loses_neither_scores_nor_checkpoint(whole_run, tmp_path, clips):
    class Interrupting(Clips):
        asked = 0

        def __getitem__(self, index):
            self.asked += 1
            if self.asked == clips:
                raise KeyboardInterrupt
            return super().__getitem__(index)

    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path, val=Interrupting(2)).fit()
    resumed = make_trainer(tmp_path)
    resumed.resume()
    resumed.fit()
    assert learned(tmp_path) == learned(whole_run)


@pytest.mark.parametrize("settings", [("optim.accumulate=2",), ("model.dropout=0.5",)])
def test_resuming_in_the_middle_of_an_epoch_leaves_no_trace(tmp_path, settings):
    """Also where a step takes several batches, and where it draws random numbers."""
    make_trainer(tmp_path / "whole_run", "optim.epochs=1", *settings, clips=8).fit()
    disturb = (3, raises(KeyboardInterrupt))
    broken = make_trainer(tmp_path / "run", "optim.epochs=1", *settings, clips=8, disturb=disturb)
    with pytest.raises(KeyboardInterrupt):
        broken.fit()
    assert 0 < broken.progress.step < broken.steps_per_epoch
    torch.manual_seed(12345)
    resumed = make_trainer(tmp_path / "run", "optim.epochs=1", *settings, clips=8)
    resumed.resume()
    torch.rand(7)  # whatever else has been drawn
    resumed.fit()
    assert learned(tmp_path / "run") == learned(tmp_path / "whole_run")


def test_a_resumed_run_goes_on_with_the_settings_it_has_now(whole_run):
    settings = ("backbone_lr_factor=1.0", "audio_lr_factor=0.5", "weight_decay=0.3", "lr=1e-3")
    settings = [f"optim.{setting}" for setting in (*settings, "schedule=step", "ema_decay=0.5")]
    resumed, fresh = make_trainer(whole_run, *settings), make_trainer(whole_run, *settings)
    resumed.resume()
    for trainer in (resumed, fresh):
        trainer._prepare()
    for group, expected in zip(
        resumed.optimizer.param_groups, fresh.optimizer.param_groups, strict=True
    ):
        assert {**group, "params": []} == {**expected, "params": []}
    assert {group["factor"] for group in fresh.optimizer.param_groups} == {0.5, 1.0}
    assert {group["weight_decay"] for group in fresh.optimizer.param_groups} == {0.0, 0.3}
    assert resumed.average.decay == 0.5


def test_an_average_that_begins_when_a_run_goes_on_begins_with_its_weights(tmp_path):
    trainer = make_trainer(tmp_path, "optim.ema_decay=0.0")
    trainer.step(take(trainer))
    trainer.save_state()
    resumed = make_trainer(tmp_path, "optim.ema_decay=0.9", "optim.seed=1")
    resumed.resume()
    state = trainer.model.state_dict()
    assert all(torch.equal(resumed.average.state[key], state[key]) for key in state)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_codebook_warms_up_in_steps_however_many_batches_they_take(tmp_path, accumulate):
    settings = f"optim.accumulate={accumulate}", "model.codebook_warmup=[1, 3]"
    shares = []

    def note(module, _inputs):
        shares.append(module._quantized_share())

    def watch():
        trainer = make_trainer(tmp_path, *settings, clips=16)
        trainer.model.codebook.register_forward_pre_hook(note)
        return trainer

    trainer = watch()
    for _ in range(2):
        trainer.step(take(trainer))
    trainer.save_state()
    resumed = watch()
    resumed.resume()
    for _ in range(2):
        resumed.step(take(resumed))
    # In each batch the global tokens come first, then the local ones, when a step more is counted.
    expected = [(0.0, 0.0), (0.0, 0.5), (0.5, 1.0), (1.0, 1.0)]
    batches = list(zip(shares[::2], shares[1::2], strict=True))
    assert batches == [step for step in expected for _ in range(accumulate)]
    assert resumed.model.codebook.updates == 4


def gradients(trainer):
    return {
        key: parameter.grad
        for key, parameter in trainer.model.named_parameters()
        if parameter.grad is not None
    }


STEADY = (  # nothing depends on which clips are in one batch
    "model.codebook_warmup=[0, 0]",
    "model.recombination=false",
    "optim.frozen_norm=true",
    "optim.audio_lr_factor=0",
    "optim.clip_norm=1e9",
)


def test_two_batches_accumulated_are_one_of_twice_the_size(tmp_path):
    norms = {}
    for size, accumulate in ((4, 1), (2, 2)):
        settings = f"data.batch_size={size}", f"optim.accumulate={accumulate}"
        off = "model.quantization=false", "model.calibration=false"
        trainer = make_trainer(tmp_path, *STEADY, *off, *settings)
        assert trainer.steps_per_epoch == 1
        values = trainer.step(take(trainer))
        norms[accumulate] = values["gradient_norm"].item(), values["loss"].item()
    assert norms[2] == pytest.approx(norms[1], rel=1e-4)


def test_more_batches_a_step_than_an_epoch_has_are_refused(tmp_path):
    with pytest.raises(DataError, match="3 batches an epoch are fewer than one step of 4"):
        make_trainer(tmp_path, "optim.accumulate=4")


def test_recomputed_activations_give_the_same_gradients(tmp_path):
    found = []
    for on in ("false", "true"):
        settings = (
            f"optim.activation_checkpointing={on}",
            "optim.frozen_norm=true",
            "model.dropout=0.1",
        )
        trainer = make_trainer(tmp_path, *settings)
        trainer.step(take(trainer))
        found.append(gradients(trainer))
    assert found[0].keys() == found[1].keys()
    for key, gradient in found[0].items():
        torch.testing.assert_close(found[1][key], gradient, msg=key)


def test_recomputing_would_move_statistics_twice_so_they_must_be_fixed(tmp_path):
    with pytest.raises(
        ConfigError, match=r"optim\.activation_checkpointing needs optim\.frozen_norm"
    ):
        make_trainer(tmp_path, "optim.activation_checkpointing=true", "optim.frozen_norm=false")


def test_bf16_steps_are_finite_and_near_those_of_fp32(tmp_path):
    losses = []
    for precision in ("fp32", "bf16"):
        trainer = make_trainer(tmp_path, f"optim.precision={precision}")
        losses.append(trainer.step(take(trainer))["loss"].item())
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.05)


def test_compiled_parts_are_called_and_checkpoints_keep_their_names(tmp_path, monkeypatch):
    seen = []

    def compile_nothing(module, *_):
        seen.append(type(module).__name__)

    monkeypatch.setattr(torch.nn.Module, "compile", compile_nothing)
    make_trainer(tmp_path, "optim.compile=true")
    assert seen == ["SmallBackbone", "PlainEncoder", "LightPyramid"]


def test_each_epoch_is_shown_as_a_picture(whole_run):
    import cv2

    paths = sorted((whole_run / "panels").iterdir())
    assert [path.name for path in paths] == ["epoch_001.png", "epoch_002.png"]
    assert cv2.imread(str(paths[0])) is not None


def test_a_checkpoint_says_how_it_was_trained(whole_run):
    from safetensors import safe_open

    with safe_open(whole_run / "best.safetensors", framework="pt") as file:
        settings = json.loads(file.metadata()["avseg"])["training"]
    assert settings["optim"]["epochs"] == 2
    assert settings["data"]["size"] == 32


def test_a_finished_run_has_nothing_left_to_do(whole_run, tmp_path):
    (tmp_path / "state.pt").write_bytes((whole_run / "state.pt").read_bytes())
    trainer = make_trainer(tmp_path)
    trainer.resume()
    trainer.fit()
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize("what", ["frames", "log_mel"])
def test_what_is_not_finite_ends_the_run_and_keeps_the_last_good_state(tmp_path, what):
    def spoil(batch):
        getattr(batch, what).fill_(float("nan"))

    trainer = make_trainer(tmp_path, disturb=(STEPS, spoil))
    with pytest.raises(AvsegError, match="not finite at step 3 of") as caught:
        trainer.fit()
    assert "loss_" in caught.value.message
    assert "--resume" in caught.value.hint
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state["progress"]["step"] == STEPS
    assert all(torch.isfinite(value.float()).all() for value in state["model"].values())
    load_checkpoint(tmp_path / "last.safetensors")


def test_a_full_disk_is_one_line_and_keeps_the_last_state(tmp_path, monkeypatch):
    trainer = make_trainer(tmp_path)
    trainer.save_state()
    before = (tmp_path / "state.pt").read_bytes()

    def full_disk(_state, part):
        part.write_bytes(b"half of")
        raise RuntimeError("[enforce fail] No space left on device\nframe #0")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(AvsegError) as caught:
        trainer.save_state()
    assert caught.value.message.startswith(f"cannot write {tmp_path / 'state.pt'}: ")
    assert "\n" not in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    assert (tmp_path / "state.pt").read_bytes() == before


def test_before_the_first_save_the_hint_does_not_speak_of_resuming(tmp_path):
    trainer = make_trainer(tmp_path, disturb=(0, lambda batch: batch.frames.fill_(float("inf"))))
    with pytest.raises(AvsegError) as caught:
        trainer.fit()
    assert "--resume" not in caught.value.hint
    assert not (tmp_path / "state.pt").exists()


def moved(trainer):
    """Names of the parameters and statistics that an epoch of training changes."""
    before = {key: value.clone() for key, value in trainer.model.state_dict().items()}
    trainer.fit()
    after = trainer.model.state_dict()
    return {key for key in before if not torch.equal(before[key], after[key])}


def test_frozen_stages_do_not_move_but_the_others_do(tmp_path):
    changed = moved(make_trainer(tmp_path, "optim.epochs=1", "optim.frozen_stages=2"))
    stages = {int(m[1]) for key in changed if (m := re.match(r"backbone\.stages\.(\d)", key))}
    assert stages == {2, 3}


def test_scale_and_shift_of_frozen_norms_do_not_move(tmp_path):
    frozen = "optim.frozen_norm=true", "optim.frozen_affine=true"
    trainer = make_trainer(tmp_path, "optim.epochs=1", *frozen)
    modules = trainer.model.backbone.named_modules(prefix="backbone")
    norms = {name for name, module in modules if isinstance(module, torch.nn.BatchNorm2d)}
    changed = moved(trainer)
    assert not {key for key in changed if key.rpartition(".")[0] in norms}
    assert {key for key in changed if key.startswith("backbone.")}


def test_the_optimizer_keeps_nothing_of_what_is_frozen(tmp_path):
    frozen = "optim.audio_lr_factor=0", "optim.frozen_stages=2", "optim.epochs=1"
    trainer = make_trainer(tmp_path, *frozen)
    trainer.fit()
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    kept = sum(s["exp_avg"].numel() for s in state["optimizer"]["state"].values())
    parameters = dict(trainer.model.named_parameters())
    trained = {key: p for key, p in parameters.items() if p.requires_grad}
    assert kept <= sum(p.numel() for p in trained.values())
    assert not [key for key in trained if re.match(r"audio_encoder|backbone\.stages\.[01]", key)]


def test_file_sizes_are_told_as_they_will_be(tmp_path):
    trainer = make_trainer(tmp_path, "optim.epochs=1", "optim.half_best=true")
    trainer.fit()
    files = [tmp_path / name for name in ("best.safetensors", "last.safetensors", "state.pt")]
    for file, size in zip(files, trainer.file_sizes(), strict=True):
        assert file.stat().st_size == pytest.approx(size, rel=0.1)
    assert files[0].stat().st_size < 0.55 * files[1].stat().st_size
    best, last = (load_checkpoint(file).model.state_dict() for file in files[:2])
    torch.testing.assert_close(best, last, rtol=1e-3, atol=1e-4)


def test_frozen_norm_keeps_statistics_while_weights_move(tmp_path):
    changed = moved(make_trainer(tmp_path, "optim.epochs=1", "optim.frozen_norm=true"))
    of_backbone = {key for key in changed if key.startswith("backbone.")}
    assert of_backbone
    assert not [key for key in of_backbone if "running" in key or "num_batches" in key]


@pytest.mark.parametrize(
    ("setting", "part"),
    [("optim.backbone_lr_factor=0", "backbone"), ("optim.audio_lr_factor=0", "audio_encoder")],
)
def test_a_learning_rate_factor_of_0_leaves_a_part_alone(tmp_path, setting, part):
    trainer = make_trainer(tmp_path, "optim.epochs=1", setting)
    changed = moved(trainer)
    assert changed
    assert not [key for key in changed if key.startswith(part)]
    # Otherwise its gradient would pile up and fill the norm that gradients are clipped to.
    assert all(parameter.grad is None for parameter in getattr(trainer.model, part).parameters())


def test_the_learning_rate_of_each_part_follows_factor_and_schedule(tmp_path):
    trainer = make_trainer(
        tmp_path,
        "optim.epochs=1",
        "optim.lr=1e-3",
        "optim.schedule=step",
        "optim.warmup_steps=6",
        "optim.backbone_lr_factor=0.1",
    )
    trainer.fit()
    rates = {group["factor"]: group["lr"] for group in trainer.optimizer.param_groups}
    assert rates == pytest.approx({1.0: 0.5e-3, 0.1: 0.5e-4})  # step 3 of 6


def test_without_an_average_the_checkpoint_holds_the_weights_themselves(tmp_path):
    trainer = make_trainer(tmp_path, "optim.epochs=1", "optim.ema_decay=0.0")
    trainer.fit()
    state = load_checkpoint(tmp_path / "last.safetensors").model.state_dict()
    present = trainer.model.state_dict()
    assert all(torch.equal(state[key], present[key]) for key in state)


def test_what_cannot_be_resumed_is_refused(whole_run, tmp_path):
    with pytest.raises(AvsegError, match="no state to resume"):
        make_trainer(tmp_path).resume()
    with pytest.raises(AvsegError, match="other settings"):
        make_trainer(whole_run, "model.hidden_dim=32").resume()
    with pytest.raises(AvsegError, match="epochs of another length"):
        make_trainer(whole_run, "data.batch_size=1", "optim.epochs=3").resume()
    (tmp_path / "state.pt").write_bytes((whole_run / "state.pt").read_bytes()[:9999])
    with pytest.raises(WeightsError, match="damaged"):
        make_trainer(tmp_path).resume()
    torch.save({"progress": {"epoch": 1}}, tmp_path / "state.pt")
    with pytest.raises(WeightsError, match="another version"):
        make_trainer(tmp_path).resume()


@pytest.mark.parametrize("noise", [b"K", b"h.", b"X\1\0\0\0\xff.", b"M", b"}]]s."])
def test_a_state_of_any_noise_is_damaged(tmp_path, noise):
    (tmp_path / "state.pt").write_bytes(noise)
    with pytest.raises(WeightsError, match=r"state\.pt is damaged"):
        make_trainer(tmp_path).resume()


class Others(Clips):
    classes = ("background", "left", "centre")


@pytest.mark.parametrize("says", ["state.pt", "config.json"])
def test_a_run_does_not_go_on_with_other_classes(whole_run, tmp_path, says):
    state = torch.load(whole_run / "state.pt", weights_only=True)
    if says != "state.pt":
        del state["classes"]  # as in older states
        (tmp_path / says).write_bytes((whole_run / says).read_bytes())
    torch.save(state, tmp_path / "state.pt")
    trainer = make_trainer(tmp_path)
    trainer.classes = Others.classes
    with pytest.raises(AvsegError) as caught:
        trainer.resume()
    assert caught.value.message == (
        f"{tmp_path / 'state.pt'} belongs to a run with other classes: "
        "number 2 was 'right', is now 'centre'"
    )
    trainer.classes = (*Clips.classes, "above")
    with pytest.raises(AvsegError, match="it had 3, now there are 4"):
        trainer.resume()


def test_a_state_of_an_older_version_is_resumed(whole_run, tmp_path):
    state = torch.load(whole_run / "state.pt", weights_only=True)
    del state["classes"], state["chosen"]
    torch.save(state, tmp_path / "state.pt")
    trainer = make_trainer(tmp_path)
    trainer.resume()
    assert trainer.is_done


def test_training_and_validation_must_have_the_same_classes(tmp_path):
    with pytest.raises(DataError, match="different classes"):
        make_trainer(tmp_path, val=Others(2))
