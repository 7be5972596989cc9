"""Gradients of every slice: of a loss at the most probable labels, with respect to the weights of a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.cohort import IGNORE_LABEL
from ActiveSegmentationLib.common.compute import Compute, double, on_device
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import Predictor, SegmentationLoss, Slices
from ActiveSegmentationLib.segmentation.learner import GRADIENTS
from ActiveSegmentationLib.segmentation.network import SegmentationNetwork
from ActiveSegmentationLib.segmentation.windows import PIXELS_PER_BATCH, fits, places

NUMBERS_PER_BATCH = 2**26
"""Largest number of gradients in a batch (256 MiB); large layers are computed in smaller batches."""

ENTRIES = ("random", "first")
"""Which parameters of a layer to use: a random subset, or the first ones as in Foellmer 2024."""


def _cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    losses = functional.cross_entropy(logits, labels, ignore_index=IGNORE_LABEL, reduction="none").sum((1, 2))
    return (losses / (labels != IGNORE_LABEL).sum((1, 2)).clamp(min=1)).sum()


def _training_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    # a Dice over the whole batch would make the gradient of a slice depend on the other slices
    dense = torch.ones(1, dtype=torch.bool, device=logits.device)
    pairs = zip(logits.split(1), labels.split(1), strict=True)
    loss = SegmentationLoss()
    return torch.stack([loss(own, label, dense) for own, label in pairs]).sum()


LOSSES: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "likelihood": lambda logits, labels: -_cross_entropy(logits, labels),
    "cross-entropy": _cross_entropy,
    "training": _training_loss,
}
"""Sums over the slices of a batch, each slice's term independent of the others, from logits (n, C, H, W) and labels.

Unlabelled pixels (255) are ignored. "likelihood" is the mean over the others, background included, of the log-
probability of the label (Foellmer 2024), "cross-entropy" its negative, "training" half of the latter and half of the
soft Dice loss, as in training.
"""


def gradient_embeddings(
    model: Predictor,
    stack: Slices,
    rows: np.ndarray,
    *,
    layer: str,
    loss: str = "likelihood",
    columns: np.ndarray | None = None,
    compute: Compute | None = None,
) -> np.ndarray:
    """Gradients of the loss at the most probable labels with respect to the weights of a layer, for every slice.

    - Gradients are taken without dropout, over the pixels inside the image.
    - Planes larger than ``Predictor.largest_slice`` are used whole, window by window.
    - Only the first member of an ensemble is used, because the papers use one model.

    Source: Ash et al. 2020 (BADGE); Foellmer et al. 2024, Appendix A.

    Args:
        model: A model or an ensemble.
        stack: The cohort's slices.
        rows: (n,) rows of the stack.
        layer: "last", "bottleneck" or "decoder", see ``SegmentationNetwork.convolutions``.
        loss: Name from ``LOSSES``.
        columns: (k,) parameters wanted, in [0, ``parameter_count``), in any order. Default: all. The others are not
            kept beyond their batch.
        compute: Device, batch size (default: by the size of the grid and of the layer) and progress reporter. Default:
            the CPU.

    Returns:
        (n, k) float32.

    Raises:
        BadInput: If there is no such layer or loss, or the model gives no gradients.

    Example:
        >>> gradient_embeddings(model, stack, rows, layer="last")
    """
    width = parameter_count(model, layer) if columns is None else len(columns)
    result = np.empty((len(rows), width), dtype=np.float32)
    done = 0
    for found in _batches(model, stack, rows, compute, layer=layer, loss=loss, columns=columns):
        result[done : done + len(found)] = found.cpu().numpy()
        done += len(found)
    return result


def mean_squared_gradients(
    model: Predictor,
    stack: Slices,
    rows: np.ndarray,
    *,
    layer: str,
    loss: str = "likelihood",
    weights: np.ndarray | None = None,
    compute: Compute | None = None,
) -> np.ndarray:
    """Mean over slices of the squared gradients: the diagonal of the empirical Fisher information (Foellmer Eq. 3).

    Args:
        model: A model or an ensemble, of which the first member is used.
        stack: The cohort's slices.
        rows: (n,) rows of the stack, at least one.
        layer: "last", "bottleneck" or "decoder".
        loss: Name from ``LOSSES``.
        weights: (n,) how often each row counts. Default: once.
        compute: Device, batch size (default: by the size of the grid and of the layer) and progress reporter. Default:
            the CPU.

    Returns:
        (parameters,) float64, 0 or more.

    Raises:
        BadInput: If there is no such layer or loss, or the model gives no gradients.
        ValueError: If there is no row.
    """
    if len(rows) == 0:
        raise ValueError("the mean over no slice is not defined")
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    total = np.zeros(parameter_count(model, layer))
    done = 0
    for found in _batches(model, stack, rows, compute, layer=layer, loss=loss, columns=None):
        squares = double(found) ** 2
        total += (on_device(weights[done : done + len(found)], squares.device) @ squares).cpu().numpy()
        done += len(found)
    return total / weights.sum()


def parameter_count(model: Predictor, layer: str) -> int:
    """Number of weights of a layer, the width of its gradients.

    Raises:
        BadInput: If there is no such layer, or the model gives no gradients.
    """
    return sum(conv.weight.numel() for conv in _network(model).convolutions(layer))


def choose_parameters(count: int, wanted: int, entries: str, rng: np.random.Generator) -> np.ndarray:
    """Choose some parameters of a layer.

    The first entries of a weight belong to its first few output channels; a random subset has entries of all channels.

    Args:
        count: Parameters of the layer.
        wanted: Number wanted.
        entries: "random" or "first".
        rng: Source of randomness; not used for all parameters or the first ones.

    Returns:
        (min(wanted, count),) int64, ascending.

    Raises:
        ValueError: If ``entries`` is neither.
    """
    if entries not in ENTRIES:
        raise ValueError(f"entries are {' or '.join(ENTRIES)}, not {entries}")
    if wanted >= count or entries == "first":
        return np.arange(min(wanted, count))
    return np.sort(rng.choice(count, wanted, replace=False))


def sample_gradients(
    network: SegmentationNetwork,
    images: torch.Tensor,
    *,
    layer: str,
    loss: str = "likelihood",
    columns: np.ndarray | None = None,
    inside: torch.Tensor | None = None,
) -> torch.Tensor:
    """Gradients of every image of a batch, exactly, from one backward pass for all of them.

    The backward pass stops at the outputs of the layer's convolutions. In evaluation mode no image influences another,
    so the gradient of the summed loss there holds each image's own, and its product with the convolution's input,
    summed over the pixels, is the gradient of the weight. Mode, parameters and ``.grad`` stay as they were.

    Args:
        network: The network; it computes without dropout and with running statistics, regardless of its mode.
        images: (n, channels, H, W) float on the network's device, of its precision.
        layer: "last", "bottleneck" or "decoder".
        loss: Name from ``LOSSES``.
        columns: (k,) parameters wanted. Default: all. Parameters are numbered through the layer's convolutions in their
            order, each weight (out, in, rows, columns) flattened.
        inside: (n, H, W) bool on the network's device, pixels that count in the loss. Default: all.

    Returns:
        (n, k) float of the network's precision, on its device.

    Raises:
        BadInput: If there is no such layer or loss.
    """
    if loss not in LOSSES:
        advice = f"Choose one of: {', '.join(LOSSES)}."
        raise BadInput(f"There is no loss called '{loss}'.", where="gradients", advice=advice)
    convs = network.convolutions(layer)
    inputs, deltas = _inputs_and_output_gradients(network, convs, images, LOSSES[loss], inside)
    if columns is None:
        return torch.cat([_weight_gradients(*parts).flatten(1) for parts in zip(convs, inputs, deltas, strict=True)], 1)
    result = images.new_empty((len(images), len(columns)))
    start, device = 0, images.device
    for conv, before, delta in zip(convs, inputs, deltas, strict=True):
        places = np.flatnonzero((columns >= start) & (columns < start + conv.weight.numel()))
        if len(places):
            channel, within = np.divmod(columns[places] - start, conv.weight[0].numel())
            kept, channel = np.unique(channel, return_inverse=True)
            found = _weight_gradients(conv, before, delta[:, on_device(kept, device)]).flatten(2)
            chosen = found[:, on_device(channel, device), on_device(within, device)]
            result[:, on_device(places, device)] = chosen
        start += conv.weight.numel()
    return result


def _batches(
    model: Predictor, stack: Slices, rows: np.ndarray, compute: Compute | None, *, layer: str, **options: Any
) -> Iterator[torch.Tensor]:
    """Gradients of the rows batch by batch; ``options`` as of ``sample_gradients``."""
    compute, network, window = compute or Compute(), _network(model), model.largest_slice(stack)
    if compute.batch_size is None:
        height, width = window
        by_memory = NUMBERS_PER_BATCH // parameter_count(model, layer)
        compute = replace(compute, batch_size=max(1, min(PIXELS_PER_BATCH // (height * width), by_memory)))

    def gradients(images: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        if fits(images, window):
            return sample_gradients(network, images, inside=inside, layer=layer, **options)
        return _of_windows(network, images, inside, window, layer=layer, **options)

    for images, inside in model.network_slices(stack, rows, compute, stage="Computing gradients"):
        yield model.parts.compute(gradients, images, inside)


def _of_windows(
    network: SegmentationNetwork, images: torch.Tensor, inside: torch.Tensor, window: tuple[int, int], **options: Any
) -> torch.Tensor:
    """Gradients of planes larger than the window: means over the windows, weighted by the pixels that each represents.

    Every pixel counts once, in the window whose centre is nearest. For a loss that is a mean over pixels this is the
    gradient of the whole plane; of the training loss, whose Dice is not a mean over pixels, it is the mean over the
    windows.
    """
    total = inside.flatten(1).sum(1).clamp(min=1)
    result: torch.Tensor | None = None
    for (rows, columns), (own_rows, own_columns) in places((images.shape[-2], images.shape[-1]), window):
        own = torch.zeros_like(inside[:, rows, columns])
        own[:, own_rows, own_columns] = inside[:, rows, columns][:, own_rows, own_columns]
        share = own.flatten(1).sum(1) / total
        found = share[:, None] * sample_gradients(network, images[..., rows, columns], inside=own, **options)
        result = found if result is None else result + found
    assert result is not None  # every plane has at least one window
    return result


def _network(model: Predictor) -> SegmentationNetwork:
    network = model.networks()[0]
    if GRADIENTS not in model.capabilities or not isinstance(network, SegmentationNetwork):
        advice = "Choose another strategy, or another learner."
        raise BadInput("The model does not give gradients of single slices.", where="model", advice=advice)
    return network


def _inputs_and_output_gradients(
    network: SegmentationNetwork,
    convs: list[nn.Conv2d],
    images: torch.Tensor,
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    inside: torch.Tensor | None,
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """For each convolution, its input (n, C, h, w) and the gradient of the loss with respect to its output (n, O, h,
    w)."""
    inputs: dict[nn.Module, torch.Tensor] = {}
    outputs: dict[nn.Module, torch.Tensor] = {}

    def keep(conv: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
        inputs[conv] = given[0].detach()
        outputs[conv] = output if output.requires_grad else output.requires_grad_()
        return outputs[conv]

    modes = [(module, module.training) for module in network.modules()]
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    hooks = [conv.register_forward_hook(keep) for conv in convs]
    try:
        network.eval()
        for parameter in trained:  # so that nothing before the first of the convolutions is recorded
            parameter.requires_grad_(False)
        with torch.enable_grad():
            logits = network(images)
            labels = logits.detach().argmax(1)
            total = loss(logits, labels if inside is None else torch.where(inside, labels, IGNORE_LABEL))
            deltas = torch.autograd.grad(total, [outputs[conv] for conv in convs])
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in trained:
            parameter.requires_grad_(True)
        for module, mode in modes:
            module.training = mode
    return [inputs[conv] for conv in convs], list(deltas)


def _weight_gradients(conv: nn.Conv2d, inputs: torch.Tensor, deltas: torch.Tensor) -> torch.Tensor:
    """Products of output gradients and the inputs of each weight, summed over the pixels: (n, O, C, rows, columns).

    One weight position at a time, which needs a ninth of the memory of unfolding the input.
    """
    if conv.groups != 1 or conv.padding_mode != "zeros" or isinstance(conv.padding, str):
        raise ValueError("gradients can be computed for plain convolutions with zero padding only")
    (down, right), (height, width) = conv.padding, deltas.shape[-2:]
    padded = functional.pad(inputs.contiguous(), (right, right, down, down))  # twice as fast as channels last
    by_pixel = deltas.contiguous().flatten(2)
    parts = []
    for row in range(conv.kernel_size[0]):
        for column in range(conv.kernel_size[1]):
            top, left = row * conv.dilation[0], column * conv.dilation[1]
            rows = slice(top, top + (height - 1) * conv.stride[0] + 1, conv.stride[0])
            columns = slice(left, left + (width - 1) * conv.stride[1] + 1, conv.stride[1])
            seen = padded[:, :, rows, columns].flatten(2)
            parts.append(torch.bmm(by_pixel, seen.transpose(1, 2)))
    return torch.stack(parts, -1).unflatten(-1, conv.kernel_size)
