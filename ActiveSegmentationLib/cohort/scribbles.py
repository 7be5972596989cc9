"""Simulated scribbles from reference masks: a thin curve through each structure, as in manual annotation."""

from __future__ import annotations

import numpy as np

from ActiveSegmentationLib.common.labels import BACKGROUND, IGNORE_LABEL

SMALLEST_PART = 0.2
"""A part of a structure gets a scribble if its area is at least this fraction of the structure's largest part."""

EIGHT = np.ones((3, 3), dtype=bool)


def scribble_from_mask(mask: np.ndarray, rng: np.random.Generator, ignore_label: int = IGNORE_LABEL) -> np.ndarray:
    """Draw scribbles into one slice.

    Every label value gets an open curve, a pixel wide, through the middle of each of its larger parts: along the
    skeleton of the eroded part where that is long (crescents, rings), around its centre where it is not (discs).
    Background gets a loop around the structures and a line winding through the rest of the slice, without which a model
    would learn nothing about the anatomy further away. After the generator of Luo et al.
    (WSL4MIS): erosion, skeleton, pruning, jitter.

    Args:
        mask: (h, w) uint8 label values; pixels of ``IGNORE_LABEL`` belong to no class and are never marked.
        rng: Source of all randomness.
        ignore_label: Value of unmarked pixels in the result; not a label value of ``mask``.

    Returns:
        (h, w) uint8: label values on the curves, ``ignore_label`` elsewhere. Each marked pixel has the value it has
        in the mask, and each value of the mask, background included, is marked at least once.

    Raises:
        ValueError: If the mask is not two-dimensional, or ``ignore_label`` is one of its label values.
    """
    if mask.ndim != 2:
        raise ValueError(f"A mask of one slice has two axes; this has {mask.ndim}.")
    values = [int(value) for value in np.unique(mask) if value != IGNORE_LABEL]
    if ignore_label in values:
        raise ValueError(f"{ignore_label} is a label value of the mask and cannot be the ignore label.")
    scribble = np.full(mask.shape, ignore_label, dtype=np.uint8)
    for value in values:
        draw = _around_structures if value == BACKGROUND else _through_parts
        scribble[draw(mask, value, rng)] = value
    return scribble


def _through_parts(mask: np.ndarray, value: int, rng: np.random.Generator) -> np.ndarray:
    from scipy import ndimage

    numbers, _ = ndimage.label(mask == value, structure=EIGHT)
    areas = np.bincount(numbers.ravel())[1:]
    marked = np.zeros(mask.shape, dtype=bool)
    for number, box in enumerate(ndimage.find_objects(numbers), start=1):
        if areas[number - 1] >= SMALLEST_PART * areas.max():
            marked[box] |= _through(numbers[box] == number, rng)
    return marked


def _through(part: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A curve through one connected part, given as bool (h, w) with at least one true pixel."""
    from scipy import ndimage
    from skimage.morphology import skeletonize

    depth = ndimage.distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    deepest = depth.max()
    inner = depth > deepest * (rng.uniform(0.15, 0.3) + 0.15 * _wobble(part.shape, rng))
    line = _prune(skeletonize(inner), rounds=int(deepest / 2))
    loop = _outline(depth > deepest * (rng.uniform(0.2, 0.4) + 0.15 * _wobble(part.shape, rng)))
    curve = line if line.sum() >= 0.4 * loop.sum() else loop
    return _open(curve, rng) if curve.any() else _deepest_pixel(depth)


def _around_structures(mask: np.ndarray, value: int, rng: np.random.Generator) -> np.ndarray:
    """A loop around all structures and a line that winds through the rest of the slice."""
    from scipy import ndimage

    background = mask == value
    structures = (mask != value) & (mask != IGNORE_LABEL)
    if not structures.any():
        line = _winding_line(background, rng)
        return line if line.any() else _pixel(mask.shape, int(rng.choice(np.flatnonzero(background))))
    distance = ndimage.distance_transform_edt(~structures)
    reach = min(rng.uniform(0.03, 0.12) * min(mask.shape), 0.6 * distance[background].max())
    loop = _outline(distance <= reach * (1 + 0.3 * _wobble(mask.shape, rng))) & background
    marked = _open(loop, rng) if loop.any() else loop
    marked = marked | _winding_line(background & (distance > reach), rng)
    return marked if marked.any() else _deepest_pixel(np.where(background, distance, 0))


def _winding_line(region: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The longest piece, within a region, of a level line of a smooth random field; nothing if the region is tiny."""
    from scipy import ndimage

    field = _wobble(region.shape, rng)
    if not region.any():
        return region
    numbers, count = ndimage.label(_outline(field > np.median(field[region])) & region, structure=EIGHT)
    if count == 0:
        return np.zeros_like(region)
    return _open(numbers == 1 + np.bincount(numbers.ravel())[1:].argmax(), rng)


def _wobble(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A smooth random field of this shape within [-1, 1]."""
    from scipy import ndimage

    coarse = rng.uniform(-1, 1, size=(5, 5))
    rows, columns = (np.linspace(0, 4, length) for length in shape)
    return ndimage.map_coordinates(coarse, np.meshgrid(rows, columns, indexing="ij"), order=1)


def _outline(region: np.ndarray) -> np.ndarray:
    """Pixels of a region next to its complement; the image border does not count."""
    from scipy import ndimage

    return region & ~ndimage.binary_erosion(region, border_value=1)


def _prune(line: np.ndarray, rounds: int) -> np.ndarray:
    """Remove the end pixels of a one-pixel line ``rounds`` times, as long as some of the line is left."""
    from scipy import ndimage

    for _ in range(rounds):
        neighbours = ndimage.convolve(line.astype(np.uint8), EIGHT.astype(np.uint8), mode="constant")
        shorter = line & (neighbours > 2)
        if not shorter.any():
            break
        line = shorter
    return line


def _open(curve: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Leave a random gap in a curve, so that a loop becomes a stroke; a curve of few pixels stays as it is."""
    pixels = np.argwhere(curve)
    centre = pixels[rng.integers(len(pixels))]
    extent = np.ptp(pixels, axis=0).max()
    near = np.linalg.norm(pixels - centre, axis=1) < rng.uniform(0.05, 0.3) * extent
    if near.all() or len(pixels) < 6:
        return curve
    opened = curve.copy()
    opened[tuple(pixels[near].T)] = False
    return opened


def _deepest_pixel(depth: np.ndarray) -> np.ndarray:
    return _pixel(depth.shape, int(depth.argmax()))


def _pixel(shape: tuple[int, ...], flat_index: int) -> np.ndarray:
    image = np.zeros(shape, dtype=bool)
    image.flat[flat_index] = True
    return image
