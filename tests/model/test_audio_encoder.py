import pytest
import torch
from torch import nn

from avsegcli.errors import ConfigError
from avsegcli.model.audio_encoder import SmallAudioEncoder, VGGish, build_audio_encoder


@pytest.fixture(scope="module")
def vggish() -> VGGish:
    torch.manual_seed(0)
    return VGGish().eval()


def test_vggish_has_the_names_and_shapes_of_torchvggish(vggish):
    convolutions = {0: (64, 1), 3: (128, 64), 6: (256, 128), 8: (256, 256)}
    convolutions |= {11: (512, 256), 13: (512, 512)}
    linear = {0: (4096, 12288), 2: (4096, 4096), 4: (128, 4096)}
    expected = {f"features.{i}.weight": (*shape, 3, 3) for i, shape in convolutions.items()}
    expected |= {f"embeddings.{i}.weight": shape for i, shape in linear.items()}
    found = {k: tuple(v.shape) for k, v in vggish.state_dict().items() if k.endswith("weight")}
    assert found == expected


def test_vggish_flattens_frames_then_bands_then_channels(vggish):
    class Lookup(nn.Module):
        def forward(self, x):
            return x

    embeddings, vggish.embeddings = vggish.embeddings, Lookup()
    log_mel = torch.randn(1, 1, 96, 64)
    with torch.no_grad():
        flat, features = vggish(log_mel)[0], vggish.features(log_mel)[0]  # (512, 6, 4)
    vggish.embeddings = embeddings
    frame, band, channel = 3, 2, 77
    assert flat[(frame * 4 + band) * 512 + channel] == features[channel, frame, band]


@pytest.mark.parametrize("name", ["vggish", "small"])
def test_an_example_has_the_same_feature_alone_and_in_a_batch(name, vggish):
    encoder = vggish if name == "vggish" else SmallAudioEncoder().eval()
    log_mel = torch.randn(3, 1, 96, 64)
    with torch.no_grad():
        together = encoder(log_mel)
        assert together.shape == (3, encoder.dim)
        torch.testing.assert_close(encoder(log_mel[1:2])[0], together[1], rtol=1e-4, atol=1e-5)


def test_gradients_reach_every_parameter(missing_gradients):
    encoder = SmallAudioEncoder()
    assert missing_gradients(encoder, encoder(torch.randn(2, 1, 96, 64))) == []


def test_silence_gives_a_finite_feature():
    silence = torch.full((1, 1, 96, 64), 0.01).log()
    assert SmallAudioEncoder().eval()(silence).isfinite().all()


def test_an_unknown_encoder_is_refused():
    with pytest.raises(ConfigError, match="unknown audio encoder 'wav2vec'"):
        build_audio_encoder("wav2vec")
