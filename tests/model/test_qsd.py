from dataclasses import replace

import pytest
import torch

from avsegcli.config import PRESETS, ModelConfig, load_config
from avsegcli.errors import ConfigError
from avsegcli.model.mobilenets import TwinBackbone
from avsegcli.model.qsd import QSDOutput, build_qsd
from avsegcli.model.yamnet import YAMNet

# Table 2 of the paper; row 2 is another model.
OFF = {"decomposition": False, "quantization": False, "recombination": False, "calibration": False}
ROWS = {
    1: OFF,
    3: OFF | {"decomposition": True},
    4: OFF | {"decomposition": True, "quantization": True},
    5: {"calibration": False},
    6: {},
}


@pytest.fixture(params=["plain", "deformable"])
def config(request, tiny) -> ModelConfig:
    return replace(tiny, attention=request.param)


def make_clips(batch: int, num_frames: int, height: int = 64, width: int = 64):
    return torch.randn(batch, num_frames, 3, height, width), torch.randn(
        batch, num_frames, 1, 96, 64
    )


def trained(output: QSDOutput) -> list[torch.Tensor]:
    """Everything that has a loss."""
    last = [output.mask_logits, output.class_logits, output.boxes]
    early = [x for layer in output.auxiliary for x in layer]
    extra = [output.audio_logits, output.visible_logits, output.loss_commit]
    return last + early + extra + output.token_logits


@pytest.mark.parametrize("num_frames", [1, 2, 6])
def test_every_output_has_its_shape_for_any_number_of_frames(config, num_frames):
    model = build_qsd(config, 4).eval()
    with torch.no_grad():
        output = model(*make_clips(2, num_frames, 64, 96))
    assert output.mask_logits.shape == (2, num_frames, 3, 16, 24)
    assert output.class_logits.shape == (2, num_frames, 3, 4)
    assert output.boxes.shape == (2, num_frames, 3, 4)
    assert [p.mask_logits.shape for p in output.auxiliary] == [(2 * num_frames, 3, 16, 24)]
    assert output.audio_logits.shape == (2, num_frames, 4)
    assert output.visible_logits.shape == (2, num_frames, 5, 8, 12)
    assert output.loss_commit.shape == ()
    assert output.global_indices.shape == (2, 3)
    assert output.local_indices.shape == (2, num_frames, 3)


def test_a_clip_is_the_same_alone_and_in_a_batch(config):
    model = build_qsd(config, 4).eval()
    frames, log_mel = make_clips(3, 2)
    valid = torch.ones(3, 64, 64, dtype=torch.bool)
    valid[0, 40:] = False
    with torch.no_grad():
        together = model(frames, log_mel, valid)
        alone = model(frames[1:2], log_mel[1:2])
    for name in ("mask_logits", "class_logits", "boxes", "audio_logits", "visible_logits"):
        a, b = getattr(together, name)[1:2], getattr(alone, name)
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_a_clip_is_the_same_filled_up_with_frames_that_are_not_present(config):
    model = build_qsd(config, 4).eval()
    frames, log_mel = make_clips(2, 3)
    present = torch.tensor([[True] * 3, [True, False, False]])
    with torch.no_grad():
        together = model(frames, log_mel, present=present)
        whole, alone = model(frames[:1], log_mel[:1]), model(frames[1:, :1], log_mel[1:, :1])
    for name in ("mask_logits", "class_logits", "boxes", "audio_logits", "visible_logits"):
        a, b = getattr(together, name)[1:, :1], getattr(alone, name)
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(together.loss_commit, (whole.loss_commit + alone.loss_commit) / 2)


def test_the_loss_of_quantization_is_eq_9(config):
    model, losses = build_qsd(config, 4).eval(), []
    model.codebook.register_forward_hook(lambda _, inputs, output: losses.append(output.loss))
    with torch.no_grad():
        output = model(*make_clips(2, 3))
    clips, frames = losses  # (B, N) and (B * T, N)
    expected = clips.mean() + frames.view(2, 3, -1).sum(1).mean()
    torch.testing.assert_close(output.loss_commit, expected)


def test_padding_has_little_say(config):
    # Attention ignores it exactly (test_visual_encoder.py, test_mask_decoder.py). What is left
    # are group norm, whose statistics include the padding, and convolutions at its edge.
    model = build_qsd(replace(config, quantization=False), 4).eval()  # a code may flip
    frames, log_mel = make_clips(1, 2, 128, 128)
    valid = torch.zeros(1, 128, 192, dtype=torch.bool)
    valid[..., :128] = True
    with torch.no_grad():
        expected = model(frames, log_mel)
        found = model(torch.nn.functional.pad(frames, (0, 64)), log_mel, valid)
    torch.testing.assert_close(found.class_logits, expected.class_logits, rtol=0, atol=0.1)
    difference = found.mask_logits[..., :32].sigmoid() - expected.mask_logits.sigmoid()
    assert difference.abs().mean() < 0.02
    boxes = found.boxes * torch.tensor([1.5, 1.0, 1.5, 1.0])
    torch.testing.assert_close(boxes, expected.boxes, rtol=0, atol=0.05)


@pytest.mark.parametrize("row", ROWS)
def test_gradients_reach_every_parameter_in_each_row_of_the_ablation(
    config, row, missing_gradients
):
    model = build_qsd(replace(config, **ROWS[row]), 4).train()
    output = model(*make_clips(2, 2))
    assert missing_gradients(model, *trained(output)) == []
    assert (output.global_indices is None) == (row in (1, 3))
    assert (output.local_indices is None) == (row != 6)


def test_the_gradient_form_of_the_codebook_gets_its_gradient(config, missing_gradients):
    model = build_qsd(replace(config, codebook_ema=False), 4).train()
    output = model(*make_clips(2, 2))
    assert missing_gradients(model, *trained(output)) == []


def test_bf16_autocast_runs_forward_and_backward(config):
    model = build_qsd(config, 4).train()
    with torch.autocast("cpu", torch.bfloat16):
        output = model(*make_clips(2, 2))
    total = output.mask_logits.float().sum() + output.class_logits.float().sum()
    (total + output.loss_commit).backward()
    assert output.mask_logits.isfinite().all()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_bf16_autocast_predicts_about_the_same(config):
    model = build_qsd(replace(config, quantization=False), 4).eval()  # a code may flip
    clips = make_clips(1, 2)
    with torch.no_grad():
        expected = model(*clips)
        with torch.autocast("cpu", torch.bfloat16):
            found = model(*clips)
    assert (found.mask_logits.float() - expected.mask_logits).abs().mean() < 0.1
    assert (found.class_logits.float() - expected.class_logits).abs().max() < 0.1


def test_silence_and_a_black_picture_give_a_finite_answer(config):
    model = build_qsd(config, 4).eval()
    silence = torch.full((1, 2, 1, 96, 64), 0.01).log()
    with torch.no_grad():
        output = model(torch.zeros(1, 2, 3, 64, 64), silence)
    assert output.mask_logits.isfinite().all()
    assert output.class_logits.isfinite().all()


def test_the_local_stage_hears_each_frame_by_itself(tiny):
    model = build_qsd(tiny, 4).eval()
    fused = torch.randn(1, 3, 16)
    tokens = model.local_decomposition(fused.flatten(0, 1)[:, None])
    fused[0, 2] += 1
    changed = model.local_decomposition(fused.flatten(0, 1)[:, None])
    assert (tokens != changed).flatten(1).any(1).tolist() == [False, False, True]


def test_frames_that_are_no_multiple_of_32_are_refused(tiny):
    with pytest.raises(ValueError, match="60 x 64"):
        build_qsd(tiny, 4)(*make_clips(1, 1, 60, 64))


def test_sound_of_another_length_is_refused(tiny):
    frames, log_mel = make_clips(1, 3)
    with pytest.raises(ValueError, match="log-mel"):
        build_qsd(tiny, 4)(frames, log_mel[:, :2])


@pytest.mark.parametrize(
    "wrong", [{"attention": "dense"}, {"decomposition": False}, {"backbone": "vgg"}]
)
def test_settings_that_name_nothing_are_refused(tiny, wrong):
    with pytest.raises(ConfigError):
        build_qsd(replace(tiny, **wrong), 4)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds(preset):
    config = load_config(preset).model
    if preset != "lite":
        pytest.importorskip("transformers")
    with torch.device("meta"):  # shapes without numbers
        model = build_qsd(config, 24)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    expected = {"lite": (14, 15), "r50": (110, 130), "swin-t": (110, 135), "pvt-b5": (165, 190)}
    low, high = expected[preset]
    assert low < parameters < high
    assert isinstance(model.backbone, TwinBackbone) == (preset == "lite")
    assert isinstance(model.audio_encoder, YAMNet) == (preset == "lite")
