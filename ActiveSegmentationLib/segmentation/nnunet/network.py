"""nnU-Net's network as one of ours, with which features, gradients of slices and a loss head are possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation.loss_head import LossHead
from ActiveSegmentationLib.segmentation.network import SegmentationNetwork
from ActiveSegmentationLib.training import seeded_weights

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.nnunet.plans import Plan


class NnunetNetwork(SegmentationNetwork):
    """A network that nnU-Net built: its plain U-Net, or the one with a residual encoder.

    Images are (n, channels, H, W), of a 3D plan (n, channels, S, H, W), of a size that the poolings divide.

    Args:
        net: The network.
        head: Whether there is a loss head.
    """

    def __init__(self, net: nn.Module, *, head: bool = False) -> None:
        super().__init__()
        self.net = net
        self.loss_head = LossHead(list(net.encoder.output_channels)) if head else None  # type: ignore[union-attr, arg-type]

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images -> the encoder's maps of all levels, finest first."""
        return list(self.net.get_submodule("encoder")(images))

    def decode(self, maps: list[torch.Tensor], size: tuple[int, int] | None = None) -> torch.Tensor:
        """The encoder's maps -> logits (n, classes, ...), those of full resolution."""
        return self.decode_all(maps)[0]

    def decode_all(self, maps: list[torch.Tensor]) -> list[torch.Tensor]:
        """The encoder's maps -> logits of all levels with deep supervision, finest first; otherwise only the finest."""
        found = self.net.get_submodule("decoder")(maps)
        return found if isinstance(found, list) else [found]

    def supervise_deeply(self, on: bool) -> None:
        """Switch on or off the outputs of the coarser levels, which training uses."""
        decoder: Any = self.net.get_submodule("decoder")
        decoder.deep_supervision = on

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images -> logits (n, classes, ...) of full resolution."""
        return self.decode(self.encode(images))

    def convolutions(self, part: str) -> list[nn.Conv2d]:
        """The convolutions of a part of a 2D network; see ``SegmentationNetwork.convolutions``.

        Args:
            part: "last", before the layer that makes the logits; "bottleneck", of the coarsest level; "decoder", all
                but the transposed ones and the layers that make logits.

        Raises:
            BadInput: If there is no such part.
        """
        decoder = self.net.get_submodule("decoder.stages")
        blocks = {"last": decoder[-1], "bottleneck": self.net.get_submodule("encoder.stages")[-1], "decoder": decoder}  # type: ignore[index]
        if part not in blocks:
            advice = f"Choose one of: {', '.join(blocks)}."
            raise BadInput(f"The network has no part called '{part}'.", where="network", advice=advice)
        found = [each for each in blocks[part].modules() if isinstance(each, nn.Conv2d) and max(each.kernel_size) > 1]
        return found if part == "decoder" else found[-1:]


def build_network(plan: Plan, *, head: bool, seed: int) -> NnunetNetwork:
    """The network of a plan with nnU-Net's random initial weights, drawn from ``seed``.

    Args:
        plan: The plan.
        head: Whether there is a loss head.
        seed: Seed of the weights; PyTorch's global generator stays as it is.
    """
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    with seeded_weights(seed):
        net = nnUNetTrainer.build_network_architecture(
            plan.manager, plan.settings, plan.channels, plan.classes, enable_deep_supervision=False
        )
        return NnunetNetwork(net, head=head)
