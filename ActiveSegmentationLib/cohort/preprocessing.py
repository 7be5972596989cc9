"""Preprocessing of slices: normalisation and grid, with presets from papers."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast, get_args

import numpy as np

from ActiveSegmentationLib.cohort.types import Volume
from ActiveSegmentationLib.common.errors import BadInput

Normalisation = Literal["percentile", "zscore", "window"]
"""Ways to normalise a volume, see ``StackSettings``."""

AUTO_SHARE = 0.95
"""Fraction of the planes that fit into an automatic size; larger ones are covered by several windows of that size."""

AUTO_LIMITS = (16, 512)
"""Smallest and largest automatic number of rows or columns."""

SAME_SPACING = 0.01
"""Without a requested size, pixel sizes that differ by less than this fraction are not resampled."""


def _require(fine: bool, field: str, value: Any, advice: str) -> None:
    if not fine:
        raise BadInput(f"{value!r} cannot be used.", where=field, advice=f"Use {advice}.")


@dataclass(frozen=True)
class StackSettings:
    """Settings of a slice stack.

    Attributes:
        normalisation: "percentile": clip each volume at its percentiles and scale to 0..1; "zscore": zero mean and unit
            variance a volume; "window": clip to level - width/2 .. level + width/2 and scale to -1..1. Every channel
            of every volume is normalised for itself.
        percentiles: Lower and upper percentile of "percentile", 0..100; 0 and 100 are the minimum and the maximum, so
            (0, 99) clips at the top only.
        window: Level and width of "window", in the image's units.
        spacing: In-plane pixel size in mm; None takes the cohort's median, 0 keeps every volume's own pixels.
        size: Rows and columns of a prepared slice, and of the window that moves over larger planes; None takes what
            holds most of the cohort.
        channels: Numbers of the channels to take, in this order; None takes all.
        stretch: Scale every plane to exactly ``size``, ignoring its aspect ratio; ``spacing`` then has no effect.
        crop: Use only the centre of planes that are larger than ``size``: pixels beyond it are neither learned nor
            predicted. By default such planes are used whole.

    Raises:
        BadInput: If a value makes no sense; it names the field.
    """

    normalisation: Normalisation = "percentile"
    percentiles: tuple[float, float] = (1.0, 99.0)
    window: tuple[float, float] = (40.0, 200.0)
    spacing: float | None = None
    size: tuple[int, int] | None = None
    channels: tuple[int, ...] | None = None
    stretch: bool = False
    crop: bool = False

    def __post_init__(self) -> None:
        ways = get_args(Normalisation)
        _require(self.normalisation in ways, "normalisation", self.normalisation, f"one of {', '.join(ways)}")
        lower, upper = self.percentiles
        _require(0 <= lower < upper <= 100, "percentiles", self.percentiles, "for example 1 and 99")
        _require(self.window[1] > 0, "window", self.window, "a level and a positive width")
        spacing = self.spacing is None or 0 <= self.spacing < 1000
        _require(spacing, "spacing", self.spacing, "a pixel size in mm, or 0 to keep the images' own pixels")
        size = self.size is None or all(1 <= n <= 8192 for n in self.size)
        _require(size, "size", self.size, "positive numbers of rows and columns")
        channels = self.channels is None or (len(self.channels) > 0 and min(self.channels) >= 0)
        _require(channels, "channels", self.channels, "numbers from 0 on")

    def to_json(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> StackSettings:
        """Inverse of ``to_json``; what is missing takes its default.

        Settings of earlier versions do not say ``crop``: an explicit size then meant cropping, and still does for them.

        Raises:
            BadInput: If a field is unknown or a value is invalid.
        """
        unknown = sorted(set(value) - {field.name for field in fields(cls)})
        if unknown:
            advice = "Check the spelling."
            raise BadInput(f"Unknown setting(s): {', '.join(unknown)}.", where="stack settings", advice=advice)
        tuples: dict[str, Any] = {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}
        tuples.setdefault("crop", tuples.get("size") is not None and not tuples.get("stretch", False))
        return cls(**tuples)


PRESETS: dict[str, StackSettings] = {
    "auto": StackSettings(),
    "vepa2024-acdc": StackSettings(percentiles=(0.0, 99.0), size=(256, 256), stretch=True),
    "vepa2024-chaos": StackSettings(
        normalisation="window", window=(40.0, 200.0), spacing=1.89, size=(189, 189), crop=True
    ),
    "vepa2024-mscmr": StackSettings(normalisation="zscore", spacing=1.36719, size=(212, 212), crop=True),
    "vepa2024-davis": StackSettings(percentiles=(0.0, 100.0), size=(256, 256), stretch=True),
    "gaillochet2023-hippocampus": StackSettings(percentiles=(1.0, 99.0), spacing=1.0, size=(50, 50), crop=True),
    "gaillochet2023-prostate": StackSettings(percentiles=(1.0, 99.0), spacing=1.0, size=(128, 128), crop=True),
    "foellmer2024-hippocampus": StackSettings(normalisation="zscore", spacing=1.0, size=(56, 40), crop=True),
    "ozdemir2021-shoulder": StackSettings(normalisation="zscore", spacing=0.91, size=(192, 192), crop=True),
}
"""Presets of papers, and "auto", which adapts to the cohort.

- "auto": percentiles 1 and 99, the cohort's median pixel size, a size that holds most planes.
- "vepa2024-acdc": Vepa et al., NeurIPS 2024, with the data of WSL4MIS (Luo et al. 2022): clipped at the 99th percentile
  only, scaled to 0..1 a volume, native pixels stretched to 256 x 256 (there to the nearest pixel, here linearly).
- "vepa2024-chaos": the same paper's CT livers: window of level 40 and width 200 HU to -1..1, 1.89 mm, 189 x 189.
- "vepa2024-mscmr": the same paper's late-enhancement MR: zero mean and unit variance, 1.37 mm (1.36719 in the public
  code), cropped or padded to 212 x 212.
- "vepa2024-davis": the same paper's video frames, 480p scaled to 256 x 256; a volume is a video.
- "gaillochet2023-hippocampus": Gaillochet et al., MedIA 2023: 1 mm, cropped or padded to 50 x 50, percentiles 1 and 99
  a scan.
- "gaillochet2023-prostate": the same paper's PROMISE12: 1 mm, 128 x 128, percentiles 1 and 99. That paper resamples all
  three directions to 1 mm; here slices stay the acquired ones and only their planes are resampled.
- "foellmer2024-hippocampus": Föllmer et al., MIDL 2024: nnU-Net's 2D plan, 1 mm, zero mean and unit variance, patches
  of 56 x 40, which hold all but the largest planes.
- "ozdemir2021-shoulder": Özdemir et al. 2021: 0.91 mm, padded to 192 x 192, zero mean and unit variance (the paper
  normalises single images, and only for its autoencoder).
"""


def resolve(settings: StackSettings, volumes: Sequence[Volume]) -> StackSettings:
    """Replace automatic values by those of the cohort.

    The automatic spacing is the median of the volumes' in-plane spacings (geometric mean of rows and columns; the lower
    of two middle ones, so that it is one that occurs), with four significant digits, or 0 (no resampling) where all of
    them agree within 1 %. The automatic size is the smallest multiple of 8 that holds 95 % of the planes, at least 16
    and at most 512 in each direction; larger planes are used whole, with a sliding window.

    Args:
        settings: Settings that may hold automatic values.
        volumes: Volumes of the cohort, at least one.

    Returns:
        Settings whose ``spacing`` and ``size`` are numbers.
    """
    spacing = 0.0 if settings.stretch else settings.spacing
    if spacing is None:
        spacing = _common_spacing([volume.turned_spacing for volume in volumes])
    size = settings.size
    if size is None:
        size = _common_size([resampled_shape(volume, spacing) for volume in volumes])
    return replace(settings, spacing=float(spacing), size=size)


def reduced_size(volumes: Sequence[Volume], side: int) -> StackSettings:
    """Automatic settings whose slices have a longer side of about ``side`` pixels, where they would have more.

    Args:
        volumes: Volumes of the cohort, at least one.
        side: Pixels of the longer side, at least 16.
    """
    _require(side >= AUTO_LIMITS[0], "side", side, f"at least {AUTO_LIMITS[0]}")
    fine = resolve(StackSettings(), volumes)
    longest = max(cast(tuple[int, int], fine.size))
    if longest <= side:
        return StackSettings()
    own = fine.spacing or float(np.sqrt(np.prod(volumes[0].turned_spacing)))
    return StackSettings(spacing=float(f"{own * longest / side:.4g}"))


def plane_zoom(volume: Volume, settings: StackSettings) -> tuple[float, float]:
    """Native pixels that a grid pixel spans along rows and columns, by resolved settings; 1 where pixels are kept."""
    if settings.stretch:
        zooms = np.divide(volume.turned_shape, cast(tuple[int, int], settings.size))
        return float(zooms[0]), float(zooms[1])
    return _spacing_zoom(volume, cast(float, settings.spacing))


def resampled_shape(volume: Volume, spacing: float) -> tuple[int, int]:
    """Rows and columns of a plane at pixels of ``spacing`` mm (0: its own pixels), rounded up."""
    zooms = _spacing_zoom(volume, spacing)
    rows, columns = (int(np.ceil(n / zoom - 1e-6)) for n, zoom in zip(volume.turned_shape, zooms, strict=True))
    return rows, columns


def larger_than_grid(volume: Volume, settings: StackSettings) -> bool:
    """Whether a plane of the volume has more rows or columns than the grid of resolved settings."""
    if settings.stretch:
        return False
    size = cast(tuple[int, int], settings.size)
    return any(n > limit for n, limit in zip(resampled_shape(volume, cast(float, settings.spacing)), size, strict=True))


def is_whole(volume: Volume, settings: StackSettings) -> bool:
    """Whether the volume's planes are kept whole in addition to the grid, because they are larger and not cropped."""
    return not settings.crop and larger_than_grid(volume, settings)


def settings_key(settings: StackSettings, volumes: Sequence[Volume]) -> dict[str, Any]:
    """The settings on which prepared slices depend; ``crop`` is included only if it matters.

    Where every plane fits the grid, or is cropped, it is what earlier versions kept, and so are the keys made of it.
    """
    whole = any(is_whole(volume, settings) for volume in volumes)
    kept = {name: value for name, value in settings.to_json().items() if name != "crop"}
    return kept | ({"crop": False} if whole else {})


def normalise(image: np.ndarray, settings: StackSettings) -> np.ndarray:
    """Normalise one volume, each channel for itself.

    Args:
        image: (c, k, j, i) float32, finite.
        settings: The settings.

    Returns:
        float32 of the same shape; a constant channel becomes 0 everywhere (for "window", its place in the window).
    """
    result = np.empty(image.shape, dtype=np.float32)
    for channel, place in zip(image, result, strict=True):
        place[...] = normaliser(channel, settings)(channel)
    return result


Normaliser = Callable[[np.ndarray], np.ndarray]
"""Normalises any part of a channel: float32 to float32 of the same shape. Monotonic."""


def normaliser(channel: np.ndarray, settings: StackSettings) -> Normaliser:
    """What normalises a channel of a volume part by part, by the statistics of all of it; see ``normalise``.

    Args:
        channel: (k, j, i) float32, finite.
        settings: The settings.
    """
    if settings.normalisation == "window":
        level, width = settings.window
        return lambda part: np.clip((part - level) / (width / 2), -1, 1)
    if channel.min() == channel.max():  # tested first: rounding gives some constants a tiny deviation
        return np.zeros_like
    if settings.normalisation == "zscore":
        mean, deviation = _mean_and_deviation(channel)
        return lambda part: ((part - mean) / deviation).astype(np.float32)
    lower, upper = (float(value) for value in np.percentile(channel, settings.percentiles))
    if upper <= lower:  # nearly all background: the percentiles meet, the structures lie beyond them
        lower, upper = float(channel.min()), float(channel.max())
    return lambda part: (np.clip(part, lower, upper) - lower) / (upper - lower)


def _mean_and_deviation(channel: np.ndarray) -> tuple[np.float64, np.float64]:
    """Mean and standard deviation in double precision, with temporary arrays of one plane."""
    mean = channel.mean(dtype=np.float64)
    squares = [np.square(plane - mean).sum() for plane in channel]
    return mean, np.sqrt(np.sum(squares) / channel.size)


def _common_spacing(spacings: Sequence[tuple[float, float]]) -> float:
    every = np.array(spacings)
    if every.max() <= (1 + SAME_SPACING) * every.min():
        return 0.0
    return float(f"{statistics.median_low(np.sqrt(every.prod(axis=1)).tolist()):.4g}")


def _common_size(shapes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    held = np.quantile(shapes, AUTO_SHARE, axis=0, method="inverted_cdf")
    rows, columns = (int(np.clip(-(-n // 8) * 8, *AUTO_LIMITS)) for n in held)
    return rows, columns


def _spacing_zoom(volume: Volume, spacing: float) -> tuple[float, float]:
    if spacing == 0:
        return 1.0, 1.0
    rows, columns = (spacing / own for own in volume.turned_spacing)
    # A tenth of a percent is the rounding of headers, not another pixel size.
    return (1.0 if abs(rows - 1) < 1e-3 else rows), (1.0 if abs(columns - 1) < 1e-3 else columns)
