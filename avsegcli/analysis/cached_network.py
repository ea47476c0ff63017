"""A network with cached outputs, for evaluations that differ in postprocessing only."""

from collections.abc import Iterator

import torch
from torch import nn

from avsegcli.model.qsd import QSD, QSDOutput


class CachedNetwork(nn.Module):
    """Asks a network, keeps its answers, and after `replay` gives them again in the same order.

    Args:
        network: in eval mode.
    """

    def __init__(self, network: QSD) -> None:
        super().__init__()
        self.network = network
        self._answers: list[QSDOutput] = []
        self._again: Iterator[QSDOutput] | None = None

    def forward(self, *inputs: torch.Tensor) -> QSDOutput:
        """Answer as the network does or did."""
        if self._again is not None:
            return next(self._again)
        output: QSDOutput = self.network(*inputs)
        self._answers.append(output)
        return output

    def replay(self) -> None:
        """Begin again with the first answer; the same questions must follow."""
        self._again = iter(self._answers)
