"""YAMNet with a second tail: an AudioSet tagger that keeps its own answers while it learns ours."""

import torch
from torch import Tensor, nn

from avsegcli.audio.audioset import GROUPS, NUM_TAGS, TAGS
from avsegcli.audio.log_mel import LOG_OFFSET
from avsegcli.model.mobilenets import SameConvolution

YAMNET_OFFSET = 0.001  # added to mel energies before the logarithm; VGGish adds 0.01
GROUP_WEIGHT = 0.5  # of a tag such as "Engine" that only says that some class of a group sounds


def _pair(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """Depthwise 3x3 and pointwise convolution of MobileNetV1."""
    return [
        SameConvolution(inputs, inputs, 3, stride, groups=inputs),
        SameConvolution(inputs, outputs),
    ]


def _tail() -> nn.Sequential:
    return nn.Sequential(*_pair(512, 512, 1), *_pair(512, 1024, 2), *_pair(1024, 1024, 1))


class YAMNet(nn.Module):
    """MobileNetV1 trained on AudioSet (521 sound classes), batch norm folded.

    The last three of its 13 blocks stand twice. `tail` and `classifier` are as released and give
    AudioSet's tags; `learned_tail` begins as a copy and is trained with the object classes, so that
    learning them takes nothing from the tags.
    """

    dim = 1024
    num_tags = NUM_TAGS
    _PLAN = (
        *((32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)),
        *((512, 512, 1),) * 4,
    )

    def __init__(self) -> None:
        super().__init__()
        trunk: list[nn.Module] = [SameConvolution(1, 32, 3, 2)]
        for plan in self._PLAN:
            trunk += _pair(*plan)
        self.trunk = nn.Sequential(*trunk)
        self.tail = _tail()
        self.learned_tail = _tail()
        self.classifier = nn.Linear(self.dim, NUM_TAGS)

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Encode log-mel examples ``(M, 1, 96, 64)`` with VGGish's offset.

        Returns:
            The learned embedding ``(M, 1024)`` and AudioSet's logits ``(M, 521)``.
        """
        features = self.encode_trunk(log_mel)
        tag_logits = self.classifier(self.tail(features).mean((2, 3)))
        return self.learned_tail(features).mean((2, 3)), tag_logits

    def encode_trunk(self, log_mel: Tensor) -> Tensor:
        """Compute the features ``(M, 512, 6, 4)`` that both tails begin from."""
        x = (log_mel.exp() + (YAMNET_OFFSET - LOG_OFFSET)).clamp(min=YAMNET_OFFSET).log()
        return self.trunk(x)

    @torch.no_grad()
    def load_released(self, state: dict[str, Tensor]) -> None:
        """Load `classifier.weight`, `classifier.bias` and 27 convolutions in their order.

        Raises:
            ValueError: if number or shapes differ.
        """
        self.classifier.weight.copy_(state["classifier.weight"])
        self.classifier.bias.copy_(state["classifier.bias"])
        names = sorted({key.rpartition(".")[0] for key in state} - {"classifier"})
        released = [(state[f"{name}.weight"], state[f"{name}.bias"]) for name in names]
        length = len(self.trunk)
        for tail in (self.tail, self.learned_tail):
            for layer, (kernel, bias) in zip([*self.trunk, *tail], released, strict=True):
                convolution = layer.convolution
                if convolution.weight.shape != kernel.shape:
                    raise ValueError("not the weights of YAMNet")
                convolution.weight.copy_(kernel)
                convolution.bias.copy_(bias)
        assert length + len(self.tail) == len(released)


class TagPrior(nn.Module):
    """Probabilities of object classes from AudioSet's tags, by a table of names.

    A class is as likely as the likeliest of its own tags, or `GROUP_WEIGHT / sqrt(n)` times as
    likely as a tag that n classes share. Nothing is learned.
    """

    direct: Tensor
    group: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.register_buffer("direct", torch.zeros(num_classes, NUM_TAGS))
        self.register_buffer("group", torch.zeros(num_classes, NUM_TAGS))

    def name_classes(self, classes: tuple[str, ...]) -> None:
        """Fill the table for these classes, background left out."""
        for index, name in enumerate(classes):
            self.direct[index, list(TAGS.get(name, ()))] = 1.0
            for tags, members in GROUPS:
                if name in members:
                    self.group[index, list(tags)] = GROUP_WEIGHT / len(members) ** 0.5

    def forward(self, tag_logits: Tensor) -> Tensor:
        """Compute class probabilities ``(..., L)`` from AudioSet's logits ``(..., 521)``."""
        probs = tag_logits.sigmoid()[..., None, :]
        return torch.maximum(self.direct, self.group).mul(probs).amax(-1)

    def imagine(self, tag_logits: Tensor, imagined: Tensor) -> Tensor:
        """Raise the tags of classes without recordings as if they were heard.

        Args:
            tag_logits: ``(M, 521)``.
            imagined: bool ``(M, L)``.

        Returns:
            Logits in which some tags of each imagined class, and of its groups, are at least at a
            random height.
        """
        tag_logits = tag_logits.clone()
        for row, index in imagined.nonzero().tolist():
            for tag, height in self._draw_tags(index).items():
                tag_logits[row, tag] = tag_logits[row, tag].clamp(min=height)
        return tag_logits

    def _draw_tags(self, index: int) -> dict[int, float]:
        """Draw tags of a class and their logits: one surely, others perhaps."""
        own = self.direct[index].nonzero().flatten().tolist()
        first, *others = [own[int(i)] for i in torch.randperm(len(own))]
        shared = self.group[index].nonzero().flatten().tolist()
        drawn = {first: float(torch.empty(()).uniform_(-0.5, 3.0))}
        for tag, chance in [(tag, 0.4) for tag in others] + [(tag, 0.6) for tag in shared]:
            if float(torch.rand(())) < chance:
                drawn[tag] = float(torch.empty(()).uniform_(-2.5, 2.0))
        return drawn
