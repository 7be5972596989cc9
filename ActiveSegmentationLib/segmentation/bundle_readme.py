"""The README and the licence of an exported MONAI bundle."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ActiveSegmentationLib.segmentation.windows import OVERLAP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ActiveSegmentationLib.segmentation.export_context import ExportContext

_PLACES = {
    "R": "the patient's right",
    "L": "the patient's left",
    "A": "the front",
    "P": "the back",
    "S": "the head",
    "I": "the feet",
}


def readme_text(window: tuple[int, ...], about: ExportContext) -> str:
    """The content of ``docs/README.md``.

    Args:
        window: Rows and columns of the images that the network takes; slices first, if it takes volumes.
        about: Classes and preparation.
    """
    labels = "\n".join(f"| {value} | {name} |" for value, name in about.labels)
    steps = "\n".join(f"{number}. {step}" for number, step in enumerate(_preparation(window, about), 1))
    differences = "\n".join(f"- {difference}" for difference in _differences(window, about))
    return _README.format(labels=labels, steps=steps, differences=differences)


def licence_text() -> str:
    """The content of ``LICENSE``, to be completed before the bundle is passed on."""
    return _LICENCE


_README = """# A segmentation model for MONAI

Made by ActiveSegmentation. MONAI runs it without ActiveSegmentation, from this folder:

```
python -m pip install monai nibabel scipy fire
python -m monai.bundle run --config_file configs/inference.json --meta_file configs/metadata.json --bundle_root . \\
    --dataset_dir /path/to/images --output_dir /path/to/results
```

Every `.nii` or `.nii.gz` file in the folder of the images is segmented. An image of several channels is one file of
four dimensions, or one file for each channel with a name that ends in `_0000`, `_0001` and so on. Results are label
maps on the grid of the image, `<name>_seg`; with `--save_probabilities true` also `<name>_probabilities`.

| label value | structure |
| --- | --- |
| 0 | background |
{labels}

## How images are prepared

{steps}

Probabilities are brought back to the image's own grid before the most probable class is taken.

## Differences from ActiveSegmentation

In everything that is not named here, both give the same probabilities up to rounding.

{differences}
"""

_LICENCE = """The weights in models/ were trained on images and annotations that do not belong to ActiveSegmentation.
The owners of these decide on the licence of the weights. Replace this paragraph by that licence before you pass the
bundle on; until then, no licence to the weights is granted.

The configuration in configs/ was written by ActiveSegmentation and is under the Apache License, Version 2.0,
https://www.apache.org/licenses/LICENSE-2.0.
"""


def _preparation(window: tuple[int, ...], about: ExportContext) -> Iterator[str]:
    settings = about.preparation
    rows, columns, slices = (_PLACES[letter] for letter in about.orientation)
    yield f"Turned so that rows are counted towards {rows}, columns towards {columns}, slices towards {slices}."
    yield f"Intensities, every channel of every image for itself: {_normalisation(about)}."
    if settings.stretch:
        yield f"Planes are stretched to {about.grid[0]} x {about.grid[1]} pixels."
    elif about.resamples:
        yield f"Planes are resampled linearly to pixels of {settings.spacing:g} mm; the distance of slices stays."
    else:
        yield f"Pixels keep their size. The network was trained on pixels of {_pixels(about)}."
    larger = "cropped to the centre" if settings.crop else "segmented with sliding windows"
    yield f"Planes smaller than {about.grid[0]} x {about.grid[1]} pixels are padded; larger ones are {larger}."
    sides = " x ".join(map(str, window))
    what = "slices x rows x columns" if len(window) == 3 else "rows x columns, slice by slice"
    yield f"The network sees windows of {sides} ({what}), with an overlap of {OVERLAP} and Gaussian weights."


def _differences(window: tuple[int, ...], about: ExportContext) -> Iterator[str]:
    yield {
        "percentile": "If both percentiles of an image are the same, ActiveSegmentation scales by its extremes.",
        "window": "Padding is -1; in ActiveSegmentation it is the smallest value of the image, if that is higher.",
        "zscore": f"Padding is {about.fill:.3g}; in ActiveSegmentation it is the smallest value of the image.",
    }[about.preparation.normalisation]
    if not about.alike:
        yield "The training images are stored in several orientations; images are turned to the most frequent one."
    if about.preparation.crop and about.resamples:
        yield "Labels at the border of the part that is cropped end up to half a pixel earlier or later."
    if len(window) == 3:
        yield "Images whose slices are counted the other way are turned; ActiveSegmentation segments them as stored."


def _normalisation(about: ExportContext) -> str:
    settings = about.preparation
    if settings.normalisation == "window":
        level, width = settings.window
        return f"clipped to {level - width / 2:g} .. {level + width / 2:g} and scaled to -1 .. 1"
    if settings.normalisation == "zscore":
        return "zero mean and unit variance"
    lower, upper = settings.percentiles
    return f"clipped at the percentiles {lower:g} and {upper:g} and scaled to 0 .. 1"


def _pixels(about: ExportContext) -> str:
    low, high = about.spacings
    return f"{low:.3g} mm" if high - low < 1e-3 * high else f"{low:.3g} to {high:.3g} mm"
