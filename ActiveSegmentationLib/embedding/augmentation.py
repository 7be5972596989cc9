"""Random views of slices: the augmentation of SimCLR, for a whole batch at once on its device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

BLUR_TAPS = 5
"""Size of the Gaussian kernel of the blur, as in the paper's code."""


@dataclass(frozen=True)
class ViewSettings:
    """Ranges of the random changes; the defaults are those of the code of Vepa et al. 2024.

    Attributes:
        crop: Smallest and largest share of the slice's area that a random resized crop keeps.
        aspect: Largest factor between the aspect ratio of the crop and that of the slice.
        flip: Probability that the view is mirrored left to right.
        rotation: Largest angle in degrees.
        shift: Largest shift as a share of the slice's height and width.
        scale: Smallest and largest factor of size.
        shear: Largest angle of shear in degrees.
        blur: Smallest and largest standard deviation of the Gaussian blur, in pixels.
        erasing: Probability that a rectangle is erased.
        erased: Smallest and largest share of the area that is erased.
        erased_aspect: Largest factor between the sides of the erased rectangle.
    """

    crop: tuple[float, float] = (0.8, 1.0)
    aspect: float = 4 / 3
    flip: float = 0.5
    rotation: float = 15.0
    shift: float = 0.2
    scale: tuple[float, float] = (0.8, 1.2)
    shear: float = 10.0
    blur: tuple[float, float] = (0.1, 2.0)
    erasing: float = 0.2
    erased: tuple[float, float] = (0.02, 0.33)
    erased_aspect: float = 3.3


@torch.no_grad()
def random_views(images: torch.Tensor, settings: ViewSettings, generator: torch.Generator) -> torch.Tensor:
    """One random view of each slice; call it twice for the two views of SimCLR.

    - The order is that of the paper's code: resized crop, mirroring, affine map (these three in one resampling), blur,
      erasing.
    - Pixels outside the slice and erased pixels get the slice's minimum. That is 0 in the paper, and air instead of
      mid-grey where images are z-scores.

    Args:
        images: (n, C, H, W) float32.
        settings: Ranges of the changes.
        generator: Source of randomness, on the device of the images; every slice has draws of its own.

    Returns:
        (n, C, H, W) float32.
    """
    draw = _Draw(len(images), images.device, generator)
    floor = images.amin((2, 3), keepdim=True)
    placements = _placements(draw, settings, images.shape[2], images.shape[3])
    grid = functional.affine_grid(placements, list(images.shape), align_corners=False)
    views = functional.grid_sample(images - floor, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    views = blurred(views, draw.between(*settings.blur))
    return views.masked_fill(_erased(draw, settings, images.shape[2], images.shape[3])[:, None], 0) + floor


def blurred(images: torch.Tensor, deviations: torch.Tensor) -> torch.Tensor:
    """Gaussian blur with a 5 x 5 kernel and a standard deviation for each slice.

    Args:
        images: (n, C, H, W) floating point; H and W at least 3.
        deviations: (n,) standard deviations in pixels, above 0.
    """
    reach = BLUR_TAPS // 2
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    taps = torch.softmax(-0.5 * (offsets / deviations[:, None]) ** 2, 1)[:, None, None, None]
    padded = functional.pad(images, (reach, reach, reach, reach), mode="reflect")
    rows = (padded.unfold(2, BLUR_TAPS, 1) * taps).sum(-1)
    return (rows.unfold(3, BLUR_TAPS, 1) * taps).sum(-1)


class _Draw:
    """Random numbers of shape (n,) on the images' device."""

    def __init__(self, n: int, device: torch.device, generator: torch.Generator) -> None:
        self._n, self._device, self._generator = n, device, generator

    def uniform(self) -> torch.Tensor:
        return torch.rand(self._n, generator=self._generator, device=self._device)

    def between(self, low: float, high: float) -> torch.Tensor:
        return low + (high - low) * self.uniform()

    def symmetric(self, largest: float) -> torch.Tensor:
        return self.between(-largest, largest)

    def ratio(self, largest: float) -> torch.Tensor:
        """Random factors from 1 / largest to largest, uniform in their logarithm."""
        return torch.exp(self.symmetric(math.log(largest)))


def _placements(draw: _Draw, settings: ViewSettings, height: int, width: int) -> torch.Tensor:
    """(n, 2, 3) affine maps from a view to its slice, in the (x, y) coordinates from -1 to 1 of ``affine_grid``."""
    inverse, shift = _affine(draw, settings, height, width)
    area, ratio = draw.between(*settings.crop), draw.ratio(settings.aspect)
    sides = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], 1).clamp(max=1)
    centre = torch.stack([draw.symmetric(1), draw.symmetric(1)], 1) * (1 - sides)
    mirror = torch.stack([torch.where(draw.uniform() < settings.flip, -1.0, 1.0), torch.ones_like(area)], 1)
    cropped = (sides * mirror)[:, :, None]  # view -> (affine) -> mirrored crop -> slice
    matrix = cropped * inverse
    return torch.cat([matrix, centre[:, :, None] - matrix @ shift[:, :, None]], 2)


def _affine(draw: _Draw, settings: ViewSettings, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverse (n, 2, 2) matrix and (n, 2) shift of rotation, shear and scale, with angles in pixels."""
    angle = draw.symmetric(math.radians(settings.rotation))
    slant = torch.tan(draw.symmetric(math.radians(settings.shear)))
    size = draw.between(*settings.scale)
    shift = torch.stack([draw.symmetric(2 * settings.shift), draw.symmetric(2 * settings.shift)], 1)
    cos, sin = torch.cos(angle) / size, torch.sin(angle) / size
    aspect = height / width
    first = torch.stack([cos + slant * sin, (sin - slant * cos) * aspect], 1)
    second = torch.stack([-sin / aspect, cos], 1)
    return torch.stack([first, second], 1), shift


def _erased(draw: _Draw, settings: ViewSettings, height: int, width: int) -> torch.Tensor:
    """(n, H, W) bool: the erased rectangles."""
    chosen = draw.uniform() < settings.erasing
    area, ratio = draw.between(*settings.erased), draw.ratio(settings.erased_aspect)
    rows = _interval(draw, (area * ratio).sqrt().clamp(max=1), height)
    columns = _interval(draw, (area / ratio).sqrt().clamp(max=1), width)
    return rows[:, :, None] & columns[:, None, :] & chosen[:, None, None]


def _interval(draw: _Draw, shares: torch.Tensor, length: int) -> torch.Tensor:
    """(n, length) bool: a random interval that covers a share of the pixels."""
    start = draw.uniform() * (1 - shares)
    places = (torch.arange(length, device=shares.device) + 0.5) / length
    return (places >= start[:, None]) & (places < (start + shares)[:, None])
