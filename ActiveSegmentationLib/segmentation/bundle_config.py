"""The configuration by which MONAI predicts with an exported model: transforms, windows, and what is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ActiveSegmentationLib.cohort import StackSettings
from ActiveSegmentationLib.cohort.grid import SMOOTHING_ZOOM
from ActiveSegmentationLib.segmentation.windows import OVERLAP

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.export_context import ExportContext

Transform = dict[str, Any]


def inference_config(window: tuple[int, ...], neighbours: int, about: ExportContext) -> dict[str, Any]:
    """The content of ``configs/inference.json``.

    Args:
        window: Rows and columns of the images that the network takes; slices first, if it takes volumes.
        neighbours: Neighbouring slices on either side that are input channels.
        about: Classes and preparation.
    """
    return {
        "imports": [
            "$import glob",
            "$import numpy as np",
            "$import torch",
            "$from functools import reduce",
            "$from monai.data import MetaTensor",
            "$from scipy.ndimage import gaussian_filter",
        ],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/images'",
        "output_dir": "$@bundle_root + '/eval'",
        "save_probabilities": False,
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "datalist": _datalist(about.preparation),
        **_on_grid(about, solid=len(window) == 3),
        "preprocessing": {"_target_": "Compose", "transforms": preprocessing(window, neighbours, about)},
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': image} for image in @datalist]",
            "transform": "@preprocessing",
        },
        "network": "$torch.jit.load(@bundle_root + '/models/model.ts', map_location=@device).eval()",
        "inferer": _inferer(window),
        "postprocessing": {"_target_": "Compose", "transforms": _postprocessing(about)},
        "run": [
            "$sum(bool(@postprocessing({**item, 'pred': @inferer(item['image'][None].to(@device), @network)[0]})) "
            "for item in @dataset)"
        ],
    }


def preprocessing(window: tuple[int, ...], neighbours: int, about: ExportContext) -> list[Transform]:
    """MONAI's transforms from a file to an image that the network takes, or that is larger."""
    settings, solid = about.preparation, len(window) == 3
    rows, columns, slices = about.orientation
    axes = slices + rows + columns if solid else rows + columns + slices
    transforms: list[Transform] = [
        {"_target_": "LoadImaged", "keys": "image"},
        {"_target_": "EnsureChannelFirstd", "keys": "image"},
        {"_target_": "Orientationd", "keys": "image", "axcodes": axes},
        {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float32"},
        _normalisation(settings),
        *_grid(about, solid=solid),
        # prepared slices are stored in half precision
        {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float16"},
        {"_target_": "CastToTyped", "keys": "image", "dtype": "$torch.float32"},
    ]
    return [*transforms, *([_neighbour_channels(neighbours)] if neighbours else [])]


def _datalist(settings: StackSettings) -> str:
    """Files of the images: one each, or one for each channel with names that end in _0000, _0001 and so on."""
    firsts, every = (f"sorted(glob.glob(@dataset_dir + '/{name}'))" for name in ("*_0000.nii*", "*.nii*"))
    if settings.channels is None:
        return f"$[sorted(glob.glob(first.replace('_0000.', '_????.'))) for first in {firsts}] or {every}"
    return f"$[[first.replace('_0000.', '_%04d.' % n) for n in {list(settings.channels)}] for first in {firsts}]"


def _normalisation(settings: StackSettings) -> Transform:
    """The normalisation of a volume, every channel for itself."""
    if settings.normalisation == "window":
        level, width = settings.window
        return {
            "_target_": "ScaleIntensityRanged",
            "keys": "image",
            "a_min": level - width / 2,
            "a_max": level + width / 2,
            "b_min": -1.0,
            "b_max": 1.0,
            "clip": True,
        }
    if settings.normalisation == "zscore":
        return {"_target_": "NormalizeIntensityd", "keys": "image", "channel_wise": True}
    lower, upper = settings.percentiles
    return {
        "_target_": "ScaleIntensityRangePercentilesd",
        "keys": "image",
        "lower": lower,
        "upper": upper,
        "b_min": 0.0,
        "b_max": 1.0,
        "clip": True,
        "channel_wise": True,
    }


def _on_grid(about: ExportContext, *, solid: bool) -> dict[str, Any]:
    """Functions of the configuration that say where the pixels of the training's grid lie; see ``PlaneGrid``.

    Of each axis of an image, "zooms" are its pixels that one of the grid spans, "sizes" the pixels of the grid, and
    "firsts" the place of the first one in the image. "target" is the grid, 1 where it lies in the image.
    """
    settings = about.preparation
    if not _moves(about):
        return {}
    zoom = (
        f"1.0 if abs({settings.spacing} / own - 1) < 1e-3 else {settings.spacing} / own" if settings.spacing else "1.0"
    )
    size = "max(limit, int(np.ceil(n / zoom - 1e-6)))"
    if settings.stretch:
        zoom, size = "n / limit", "limit"
    elif settings.crop:  # as many more on either side, which are cropped afterwards
        size = "limit + 2 * max(0, int(np.ceil((n / zoom + 1 - limit) / 2)))"
    of_axes = "zip(x.shape[1:], x.pixdim.tolist(), @limits)"
    sized = "zip(x.shape[1:], @zooms(x), @sizes(x))"
    first = "(n - 1 - zoom * (m - 1)) / 2"
    places = "zip(x.shape[1:], [f + z * np.arange(m) for f, z, m in zip(@firsts(x), @zooms(x), @sizes(x))])"
    inside = f"[(p > -0.5 - 1e-6) & (p < n - 0.5 + 1e-6) for n, p in {places}]"
    affine = "np.r_[np.c_[np.diag(@zooms(x)), @firsts(x)], [[0, 0, 0, 1]]]"
    return {
        "limits": [None, *about.grid] if solid else [*about.grid, None],
        "zooms": f"$lambda x: [1.0 if limit is None else ({zoom}) for n, own, limit in {of_axes}]",
        "sizes": f"$lambda x: [n if limit is None else ({size}) for n, zoom, limit in "
        "zip(x.shape[1:], @zooms(x), @limits)]",
        "firsts": f"$lambda x: [np.floor({first}) if zoom == 1 else {first} for n, zoom, m in {sized}]",
        "target": f"$lambda x: MetaTensor(torch.as_tensor(reduce(np.multiply.outer, {inside}))[None], "
        f"affine=x.affine.numpy().dot({affine}))",
    }


def _resampled(about: ExportContext) -> list[Transform]:
    """Images on the training's grid, smoothed beforehand in directions that shrink by more than 1.2."""
    sigma = f"[0, *[(zoom - 1) / 2 if zoom > {SMOOTHING_ZOOM} else 0 for zoom in @zooms(x)]]"
    smoothed = f"x * 0 + torch.as_tensor(gaussian_filter(x.numpy(), {sigma}, mode='nearest'))"
    above = [{"_target_": "ShiftIntensityd", "keys": "image", "offset": offset} for offset in (-about.fill, about.fill)]
    return [
        {"_target_": "Lambdad", "keys": "image", "func": f"$lambda x: {smoothed}"},
        {"_target_": "CopyItemsd", "keys": "image", "names": "grid"},
        {"_target_": "Lambdad", "keys": "grid", "func": "@target"},
        {"_target_": "ResampleToMatchd", "keys": "image", "key_dst": "grid", "mode": "bilinear"},
        above[0],
        {"_target_": "MaskIntensityd", "keys": "image", "mask_key": "grid"},
        above[1],
    ]


def _grid(about: ExportContext, *, solid: bool) -> list[Transform]:
    """Images on the training's grid: padded to it, or resampled and cropped as in the training.

    Mirrored before and after, because where one pixel is left over, this library pads before the image and MONAI after.
    """
    settings, size = about.preparation, list(about.grid)
    axes, spatial = ([1, 2], [-1, *size]) if solid else ([0, 1], [*size, -1])
    cropped = [{"_target_": "CenterSpatialCropd", "keys": "image", "roi_size": spatial}] if settings.crop else []
    if _moves(about):
        return [*_resampled(about), *cropped]
    mirrored = {"_target_": "Flipd", "keys": "image", "spatial_axis": axes}
    padded = {
        "_target_": "SpatialPadd",
        "keys": "image",
        "spatial_size": spatial,
        "mode": "constant",
        "value": about.fill,
    }
    return [mirrored, padded, mirrored]


def _moves(about: ExportContext) -> bool:
    """Whether pixels of some image are changed or cropped on the grid, which padding alone does not do."""
    return about.resamples or about.preparation.crop


def _neighbour_channels(neighbours: int) -> Transform:
    """Every channel of neighbouring slices as channels; beyond the ends the outermost slice again."""
    shifts = list(range(-neighbours, neighbours + 1))
    index = "torch.arange(x.shape[-1]).add(d).clamp(0, x.shape[-1] - 1)"
    return {
        "_target_": "Lambdad",
        "keys": "image",
        "func": f"$lambda x: torch.stack([x[..., {index}] for d in {shifts}], 1).flatten(0, 1)",
    }


def _inferer(window: tuple[int, ...]) -> dict[str, Any]:
    common = {"roi_size": list(window), "sw_batch_size": 4, "overlap": OVERLAP, "mode": "gaussian"}
    if len(window) == 3:
        return {"_target_": "SlidingWindowInferer", **common, "sw_batch_size": 1, "padding_mode": "replicate"}
    return {"_target_": "SliceInferer", "spatial_dim": 2, **common}


def _postprocessing(about: ExportContext) -> list[Transform]:
    values = [value for value, _ in about.labels]
    numbers = list(range(1, len(values) + 1))
    mapped = {"_target_": "MapLabelValued", "keys": "pred", "orig_labels": numbers, "target_labels": values}
    background = "$lambda x: torch.cat([x[:1] + 1 - x.sum(0, keepdim=True), x[1:]])"
    beyond = {"_target_": "Lambdad", "keys": "pred", "func": background}  # what was cropped is background
    saved = {"_target_": "SaveImaged", "output_dir": "@output_dir", "separate_folder": False, "resample": False}
    return [
        {
            "_target_": "Invertd",
            "keys": "pred",
            "transform": "@preprocessing",
            "orig_keys": "image",
            "nearest_interp": False,
        },
        *([beyond] if about.preparation.crop else []),
        {"_target_": "CopyItemsd", "keys": "pred", "names": "probabilities", "_disabled_": "$not @save_probabilities"},
        {
            **saved,
            "keys": "probabilities",
            "output_postfix": "probabilities",
            "output_dtype": "$np.float32",
            "_disabled_": "$not @save_probabilities",
        },
        {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        *([mapped] if values != numbers else []),
        {**saved, "keys": "pred", "output_postfix": "seg", "output_dtype": "$np.uint8"},
    ]
