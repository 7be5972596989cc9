"""A U-Net that works at a lower resolution than its images have, so that large slices can be trained on whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

from ActiveSegmentationLib.segmentation.network import UNet

if TYPE_CHECKING:
    import torch

    from ActiveSegmentationLib.segmentation.settings import TrainingSettings


class ReducedUNet(UNet):
    """A U-Net that sees the means of squares of pixels, and whose logits are interpolated to all pixels.

    Args:
        channels: Channels of the images.
        classes: Classes including background.
        settings: See ``UNet``.
        reduce: Side of the squares; 1 for a U-Net at full resolution.
    """

    def __init__(self, channels: int, classes: int, settings: TrainingSettings, reduce: int) -> None:
        super().__init__(channels, classes, settings)
        self._reduce = reduce

    def encode(self, images: torch.Tensor) -> list[torch.Tensor]:
        """See ``SegmentationNetwork.encode``; sides that the squares do not divide are continued by their border."""
        n = self._reduce
        if n > 1:
            rows, columns = (-side % n for side in images.shape[-2:])
            images = functional.pad(images, (0, columns, 0, rows), mode="replicate")
            images = functional.avg_pool2d(images, n)
        return super().encode(images)

    def decode(self, maps: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
        """See ``SegmentationNetwork.decode``."""
        n = self._reduce
        if n == 1:
            return super().decode(maps, size)
        logits = super().decode(maps, (-(-size[0] // n), -(-size[1] // n)))
        logits = functional.interpolate(logits, scale_factor=n, mode="bilinear", align_corners=False)
        return logits[..., : size[0], : size[1]]
