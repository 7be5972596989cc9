"""Exponential moving average of a network's weights, which is steadier than the weights of the last step."""

from __future__ import annotations

import torch
from torch import nn


class WeightAverage:
    """The moving average of a network's weights and running statistics.

    The decay grows over the first steps, (1 + n) / (10 + n) after n steps, so that the random initial weights are
    forgotten (Tarvainen and Valpola 2017 describe the average; TensorFlow's ExponentialMovingAverage this growth).

    Args:
        network: The network; its present weights are the first.
        decay: Largest decay, in (0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay, self._count = decay, 0
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def add(self, network: nn.Module) -> None:
        """Take in the weights after a step; whole numbers, such as counts of batches, are copied."""
        self._count += 1
        decay = min(self._decay, (1 + self._count) / (10 + self._count))
        pairs = [(self.weights[name], value) for name, value in network.state_dict().items()]
        real = [(mean, value) for mean, value in pairs if mean.is_floating_point()]
        torch._foreach_lerp_([mean for mean, _ in real], [value for _, value in real], 1 - decay)
        for mean, value in pairs:
            if not mean.is_floating_point():
                mean.copy_(value)

    def state(self) -> dict:
        """Weights and number of steps, for a checkpoint."""
        return {"weights": self.weights, "count": self._count}

    def load_state(self, state: dict) -> None:
        """Inverse of ``state``."""
        self._count = state["count"]
        for name, value in state["weights"].items():
            self.weights[name].copy_(value)
