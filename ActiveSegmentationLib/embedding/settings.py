"""Settings of the learned metric, and presets with the paper's settings."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pydantic
from pydantic import Field

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.embedding.loss_weights import Anchors, LossWeights
from ActiveSegmentationLib.training import Settings, settings

if TYPE_CHECKING:
    from ActiveSegmentationLib.embedding.slices import EmbeddableSlices

Stem = Literal["auto", "large", "medium", "small"]

MEDIUM_STEM_BELOW = 40
"""Slices whose shorter side has fewer pixels get the medium stem."""
SMALL_STEM_BELOW = 20
"""Slices whose shorter side has fewer pixels get the small stem."""


@settings
class EmbeddingSettings(Settings):
    """Settings of the learned metric; the defaults are the preset "auto".

    Attributes:
        weights: Weights of Eq. 5. None chooses by the cohort: (1, 0.05, 0.35, 0) where a patient has more than one
            volume, otherwise (1, 0, 0.35, 0), which are the paper's best.
        temperature: Temperature tau of every loss.
        anchors: Reading of Eq. 4, see ``group_contrastive_loss``.
        batch_size: Slices per batch (two views each), rounded down to whole tuples.
        epochs: Number of times that every slice is the anchor of a tuple.
        max_steps: Maximum number of steps, even if the epochs are not finished, or None.
        steps: Number of steps, which overrides ``epochs`` and ``max_steps``, or None.
        learning_rate: Learning rate of Adam.
        weight_decay: L2 penalty of Adam.
        schedule: "constant", or "cosine" to let the learning rate fall to 0 after a warm-up over the first 5 % of
            steps.
        stem: First layers of the network, or "auto" to choose by the size of the slices, see ``EncoderNetwork``.
        width: Channels of the first residual blocks, a multiple of 8. An embedding is eight times as long, 512 for the
            paper's ResNet-18.
        norm: "batch" (paper) or "group" normalisation. Batch statistics of few, related slices reveal which slices are
            in a batch together; "group" avoids that for small batches of one or two patients.
        longest_side: Slices are shrunk to at most this many pixels on the longer side, or None to use them as they are
            in the stack.
    """

    where: ClassVar[str] = "embedding settings"

    weights: LossWeights | None = None
    temperature: float = Field(default=0.5, gt=0)
    anchors: Anchors = "all"
    batch_size: int = Field(default=32, ge=2)
    epochs: int = Field(default=20, ge=1)
    max_steps: int | None = Field(default=300, ge=1)
    steps: int | None = Field(default=None, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-6, ge=0)
    schedule: Literal["constant", "cosine"] = "cosine"
    stem: Stem = "auto"
    width: int = Field(default=64, ge=8, multiple_of=8)
    norm: Literal["batch", "group"] = "batch"
    longest_side: int | None = Field(default=96, ge=8)

    @pydantic.field_validator("weights")
    @classmethod
    def _some_weight(cls, weights: LossWeights | None) -> LossWeights | None:
        if weights is not None and (min(weights) < 0 or sum(weights) <= 0):
            raise ValueError("'weights' must be four numbers of 0 or more, not all 0.")
        return weights

    @property
    def features(self) -> int:
        """Length of an embedding."""
        return 8 * self.width

    def resolved(self, stack: EmbeddableSlices, rows: np.ndarray) -> EmbeddingSettings:
        """The same settings with every automatic choice made for these slices.

        Args:
            stack: The cohort's slices.
            rows: (n,) rows to learn from.
        """
        weights = self.weights
        if weights is None:
            volumes = len(np.unique(stack.volume_number[rows]))
            patients = len(np.unique(stack.patient_number[rows]))
            weights = SEVERAL_VOLUMES if volumes > patients else SINGLE_VOLUME
        shorter = min(self.input_shape(stack.grid_shape))
        stem: Stem = "large"
        if shorter < MEDIUM_STEM_BELOW:
            stem = "small" if shorter < SMALL_STEM_BELOW else "medium"
        return replace(self, weights=weights, stem=stem if self.stem == "auto" else self.stem)

    def input_shape(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of the network's input for slices of ``grid`` rows and columns."""
        if self.longest_side is None or max(grid) <= self.longest_side:
            return grid
        factor = self.longest_side / max(grid)
        return max(1, round(grid[0] * factor)), max(1, round(grid[1] * factor))

    def total_steps(self, batches_per_epoch: int) -> int:
        """Number of steps of the whole training."""
        if self.steps is not None:
            return self.steps
        planned = self.epochs * batches_per_epoch
        return planned if self.max_steps is None else min(planned, self.max_steps)


SEVERAL_VOLUMES = LossWeights(1.0, 0.05, 0.35, 0.0)
SINGLE_VOLUME = LossWeights(1.0, 0.0, 0.35, 0.0)


def _paper(ntxent: float, patient: float, volume: float, slice_: float) -> EmbeddingSettings:
    """The paper's training with weights of Eq. 5; batches of 9 slices with two groupings, otherwise of 8."""
    weights = LossWeights(ntxent, patient, volume, slice_)
    groupings = sum(weight > 0 for weight in weights[1:])
    return EmbeddingSettings(
        weights=weights,
        anchors="paper",
        batch_size=9 if groupings == 2 else 8,
        epochs=100,
        max_steps=None,
        learning_rate=3e-4,
        schedule="constant",
        stem="large",
        longest_side=None,
    )


EMBEDDING_PRESETS: dict[str, EmbeddingSettings] = {
    "auto": EmbeddingSettings(),
    "vepa2024-acdc": _paper(*SEVERAL_VOLUMES),
    "vepa2024-single-volume": _paper(*SINGLE_VOLUME),
    "vepa2024-volume-slice": _paper(1, 0, 0.10, 0.30),
    "ntxent": _paper(1, 0, 0, 0),
    "patient": _paper(0, 1, 0, 0),
    "volume": _paper(0, 0, 1, 0),
    "slice": _paper(0, 0, 0, 1),
    "ntxent-patient": _paper(1, 1, 0, 0),
    "ntxent-volume": _paper(1, 0, 1, 0),
    "ntxent-slice": _paper(1, 0, 0, 1),
    "patient-volume": _paper(0, 0.5, 0.5, 0),
    "patient-slice": _paper(0, 0.5, 0, 0.5),
    "volume-slice": _paper(0, 0, 0.5, 0.5),
    "ntxent-patient-volume": _paper(*SEVERAL_VOLUMES),
    "ntxent-patient-slice": _paper(1, 0.05, 0, 0.35),
    "ntxent-volume-slice": _paper(1, 0, 0.10, 0.30),
    "patient-volume-slice": _paper(0, 0.33, 0.33, 0.33),
    "all": _paper(1, 0.05, 0.35, 0.025),
}
"""Settings by name.

- "auto" is made for a CPU: it takes about three minutes on two cores for thousands of slices. Differences from Vepa et
  al. (NeurIPS 2024): batches of 32 slices instead of 8 or 9, at most 20 epochs and 300 steps instead of 100 epochs, a
  larger learning rate that falls (constant in the paper), slices shrunk to 96 pixels, stems for small images below 40,
  and both directions of Eq. 4. The losses, their weights and Adam's weight decay are the paper's. Measured on the
  hippocampus cohort by the rank of the original among 1,832 slices, nearest to a changed slice (median; 532 for
  pixels): 38 after these 300 steps, 154 after 100, 206 after 100 with the paper's learning rate, and 164 after 75 steps
  of the medium stem, which take as long as 220 of these.

- The "vepa2024-..." presets are the paper's trainings (Section 3.2.1, Appendix A): "-acdc" is its best for patients
  with several volumes; "-single-volume" and "-volume-slice" are the two that it used where a patient has one volume.
- The other names list the losses that are combined: every combination of NT-Xent and the losses of patients, volumes
  and neighbouring slices, which includes every row of the paper's ablation (Table 4, Appendix A). "patient" is also its
  choice for pretrained segmentation networks. Weights are 1 for NT-Xent and for a single group loss, as in the paper.
  Where the paper tried several weights for group losses, the text does not say which were best: "ntxent-patient-volume"
  and "all" have those of its best training, and combinations without NT-Xent have equal weights. The paper gives no
  weights for "patient-slice" and "ntxent-patient-slice"; those here follow "patient-volume" and
  "ntxent-patient-volume".

Other weights can be written freely, see ``named_settings``. The paper's slices are 256 pixels wide and its network has
a stem for large images; choose the slice stack accordingly.
"""

WEIGHT_NAMES = ("nt-xent", "patient", "volume", "slice")
"""Names of the weights of Eq. 5 in the names of strategies."""


def named_settings(name: str, own: EmbeddingSettings) -> EmbeddingSettings:
    """The settings that "learned:NAME" in the name of a strategy means.

    Args:
        name: A preset, or weights of Eq. 5 as in "nt-xent=1+patient=0.05+volume=0.35"; those left out are 0.
        own: Settings of the study. Free weights change only the weights in them; a preset keeps only their ``steps``.

    Raises:
        BadInput: If there is no such preset, or the weights are not numbers of 0 or more, one of them positive.
    """
    if name in EMBEDDING_PRESETS:
        preset = EMBEDDING_PRESETS[name]
        return preset if own.steps is None else replace(preset, steps=own.steps)
    weights: dict[str, float] = {}
    for part in name.split("+"):
        key, _, text = part.partition("=")
        try:
            weight = float(text)
        except ValueError:
            weight = math.nan
        if key not in WEIGHT_NAMES or key in weights or not 0 <= weight < math.inf:
            raise _no_learned_metric(name)
        weights[key] = weight
    if not any(weights.values()):
        raise _no_learned_metric(name)
    return replace(own, weights=LossWeights(*(weights.get(key, 0.0) for key in WEIGHT_NAMES)))


def _no_learned_metric(name: str) -> BadInput:
    advice = (
        f"Presets are: {', '.join(EMBEDDING_PRESETS)}. Or write weights of the losses, such as "
        f"{'+'.join(f'{key}={weight:g}' for key, weight in zip(WEIGHT_NAMES, (1, 0.05, 0.35, 0), strict=True))}."
    )
    return BadInput(f"There is no learned metric called '{name}'.", where="learned metric", advice=advice)
