"""k-center greedy: cover the cohort so that no slice is far from an annotated one (Sener and Savarese 2018).

Also the spaces in which strategies compare slices, and distances to annotated or picked slices.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

import numpy as np

from ActiveSegmentationLib.acquisition.base import Choice, Gains, RepresentativeStrategy, pick_greedily
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.common.compute import on_device
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.seeds import generator

if TYPE_CHECKING:
    import torch

TIE = 1e-6
"""Squared distances that differ by less than this relative tolerance count as equal, so that rounding on another device
changes no pick."""

NOISE = 1e-13
"""Squared distances below this share of the squared norms are rounding errors: the points are identical."""

BLOCK = 64
"""Centres whose distances to all points are computed at a time."""

COPIES = 4
"""Peak memory of the distances, in copies of the points in double precision."""

SPACES = {
    "segmenter": "the current model's features",
    "segmenter-map": "the current model's features at every position",
    "pixels": "their pixels",
    "learned": "the learned metric",
}
"""Kinds of embedding, in words."""

WITHOUT_GROUPS = "learned:nt-xent=1"
"""The encoder trained with NT-Xent alone (no group losses), otherwise with the study's settings."""

SpaceName = Annotated[
    str, Option("where slices are compared: segmenter, segmenter-map, pixels, learned or learned:PRESET", argument=True)
]


class Space(NamedTuple):
    """Where slices are compared.

    Attributes:
        kind: Kind of embedding: "segmenter", "segmenter-map", "pixels", "learned" or "learned:NAME".
    """

    kind: str

    @property
    def embeddings(self) -> tuple[str, ...]:
        """Kinds of embedding that the strategy may request from the pool."""
        return (self.kind, "pixels") if self._of_model else (self.kind,)

    def of(self, pool: Pool) -> str:
        """The kind of embedding to use in this round: pixels replace the model's features before a model is trained."""
        return "pixels" if self._of_model and not pool.offers(self.kind) else self.kind

    @property
    def _of_model(self) -> bool:
        return self.kind.startswith("segmenter")


def check_space(kind: str, strategy: str) -> None:
    """Raise an error for a space that does not exist.

    Args:
        kind: One of ``SPACES``, or "learned:NAME" with a name that ``named_settings`` knows.
        strategy: Name of the strategy, for the error.

    Raises:
        BadInput: If there is no such space.
    """
    head, colon, name = kind.partition(":")
    if head not in SPACES or (colon and head != "learned"):
        advice = f"Use {', '.join(f'{strategy}:{space}' for space in SPACES)} or {strategy}:learned:PRESET."
        raise BadInput(f"There is no space called '{kind}'.", where=f"strategy {strategy}", advice=advice)
    if colon and kind != WITHOUT_GROUPS:
        from ActiveSegmentationLib.embedding import EmbeddingSettings, named_settings

        named_settings(name, EmbeddingSettings())


def in_words(kind: str) -> str:
    """A kind of embedding in words, to follow "by"."""
    return SPACES[kind.partition(":")[0]]


class SpaceStrategy(RepresentativeStrategy):
    """Base of representative strategies that compare slices in one space.

    Attributes:
        space: Kind of embedding, an argument of most subclasses; the others override ``kind``.
    """

    requires = "an embedding; a trained model for its features"

    space: str

    @property
    def kind(self) -> str:
        """Kind of embedding, see ``Space``."""
        return self.space

    def __post_init__(self) -> None:
        """Check the options and the space.

        Raises:
            BadInput: If there is no such space.
        """
        super().__post_init__()
        check_space(self.kind, self.name)

    @property
    def embeddings(self) -> tuple[str, ...]:
        """The embedding of its space; see ``Strategy.embeddings``."""
        return Space(self.kind).embeddings

    def features(self, pool: Pool) -> tuple[str, np.ndarray]:
        """The kind of embedding of this round, and its values (n, d) float32."""
        kind = Space(self.kind).of(pool)
        return kind, pool.embeddings(kind)


class KCenter(SpaceStrategy):
    """k-center greedy in one space, which subclasses define.

    The gain of a slice is its distance to the nearest annotated or picked one. Before there is one, the gain is how
    much nearer the slice is to the mean of all slices than the farthest slice.
    """

    first: Literal["random", "typical"]

    def select(self, pool: Pool, budget: int, rng: np.random.Generator) -> list[Choice]:
        """Select slices; see ``Strategy.select``. Only the very first slice is random (pool's seed)."""
        kind, features = self.features(pool)
        first = _first_centre(pool) if self.first == "random" else None

        def tell(centre: Centre) -> str:
            return _reason(pool, centre, kind, drawn=first is not None)

        state = KCenterGains(features, pool.annotated, tell, first=first, device=pool.compute.device)
        return pick_greedily(state, pool, budget)

    def start(self, pool: Pool, budget: int, rng: np.random.Generator) -> CoverGains:
        """Distances to the annotated slices; see ``RepresentativeStrategy.start``."""
        kind, features = self.features(pool)
        return CoverGains(
            features, pool.annotated, lambda centre: _reason(pool, centre, kind), device=pool.compute.device
        )


First = Annotated[
    Literal["random", "typical"],
    Option("how the very first slice is chosen if nothing is annotated: at random, or the most typical one"),
]


@dataclass(frozen=True)
class Coreset(KCenter):
    """k-center greedy coreset (Sener and Savarese 2018; the baseline "Coreset" of Vepa 2024 and Foellmer 2024).

    ``space`` is where slices are compared:

    - "segmenter": the globally averaged coarsest features of the last model, concatenated over ensemble members;
    - "segmenter-map": the same without averaging, as in Foellmer et al.;
    - "pixels": 32 x 32 pixels (the released code of Vepa et al. uses all pixels);
    - "learned" or "learned:NAME": the learned metric, with the names of "group-contrastive-coreset".

    Before the first model is trained, pixels are used instead of its features and each reason says so. Needs the
    embedding; cost O((annotated + budget) n d).
    """

    name = "coreset"
    summary = "Slices unlike any annotated one, by the model's features (coreset:pixels and coreset:learned also)."
    source = "Sener 2018; Vepa, Foellmer"

    space: SpaceName = "segmenter"
    first: First = "random"


@dataclass(frozen=True)
class GroupContrastiveCoreset(KCenter):
    """k-center greedy in a metric learned from the cohort alone (Vepa et al. 2024, "Ours"; Eq. 2-5).

    The encoder is trained without labels to bring slices of one patient, volume or neighbourhood together. It is
    trained once per cohort and used in every round, including the first. ``losses`` is

    - a preset, among them every row of the paper's ablation: "ntxent", "patient", "volume", "slice", any of them joined
      by "-" in this order as in "ntxent-patient-volume", and "all";
    - or free weights as in "nt-xent=1+patient=0.05+volume=0.35+slice=0", otherwise with the study's settings.

    Needs the learned embedding (minutes of training, once); cost O((annotated + budget) n d).
    """

    name = "group-contrastive-coreset"
    summary = "Slices unlike any annotated one, by a metric learned from your cohort; needs no label to start."
    source = "Vepa 2024"
    requires = "training of the learned metric, once"

    losses: Annotated[str | None, Option("losses of the learned metric: a preset or weights", argument=True)] = None
    first: First = "random"

    @property
    def kind(self) -> str:
        """The learned metric; see ``SpaceStrategy.kind``."""
        return "learned" if self.losses is None else f"learned:{self.losses}"


class Centre(NamedTuple):
    """One pick of the greedy cover.

    Attributes:
        position: Position of the picked point.
        distance: Its Euclidean distance to the nearest centre before it was picked; infinite for the very first.
        nearest: Position of that nearest centre, -1 for the very first.
    """

    position: int
    distance: float
    nearest: int


class CoverGains(Gains):
    """Gains that are distances to the nearest annotated or picked slice.

    Args:
        features: (n, d) float32 array, finite.
        covered: (n,) bool, centres that exist already (annotated slices).
        tell: Says of a pick why it was worth it, one sentence with a full stop.
        device: Torch device for the distances, if its memory suffices.
    """

    def __init__(
        self, features: np.ndarray, covered: np.ndarray, tell: Callable[[Centre], str], *, device: str = "cpu"
    ) -> None:
        self._tell = tell
        self.cover = Cover(features, fitting_device(device, features))
        self.cover.add(np.flatnonzero(covered))

    def gains(self) -> np.ndarray:
        """Distances (n,), see ``Gains.gains``."""
        return self.cover.gains()

    def take(self, position: int) -> str:
        """Cover what is close to the pick, see ``GreedyState.take``."""
        centre = Centre(position, self.cover.distance(position), int(self.cover.nearest[position]))
        self.cover.add(np.array([position]))
        return self._tell(centre)


class KCenterGains(CoverGains):
    """k-center greedy with a first pick of its own (Vepa 2024, Eq. 2; a 2-OPT solution).

    If nothing is covered yet, the first pick is ``first`` or, by default, the allowed point nearest to the mean of all
    points; the papers do not specify the start. Cost O((centres + budget) n d).

    Args:
        features: (n, d) float32 array, finite.
        covered: (n,) bool, centres that exist already (annotated slices).
        tell: Says of a pick why it was worth it, one sentence with a full stop.
        first: Position of the first pick if no point is covered. Default: the point nearest to the mean.
        device: Torch device for the distances, if its memory suffices.
    """

    def __init__(
        self,
        features: np.ndarray,
        covered: np.ndarray,
        tell: Callable[[Centre], str],
        *,
        first: int | None = None,
        device: str = "cpu",
    ) -> None:
        super().__init__(features, covered, tell, device=device)
        self._first = None if covered.any() else first

    def pick(self, allowed: np.ndarray) -> tuple[int, float | None]:
        """The farthest slice; the very first pick has no score. See ``GreedyState.pick``."""
        first, self._first = self._first, None
        position = self.cover.farthest(allowed) if first is None else first
        distance = self.cover.distance(position)
        return position, distance if np.isfinite(distance) else None


def _first_centre(pool: Pool) -> int | None:
    """A random slice: the same for all such strategies with one seed, another one for every seed."""
    allowed = np.flatnonzero(pool.allowance().mask)
    if not len(allowed) or pool.annotated.any():
        return None
    return int(generator(0, "first centre").permutation(allowed)[pool.plan.seed % len(allowed)])


def _reason(pool: Pool, centre: Centre, kind: str, *, drawn: bool = False) -> str:
    by = in_words(kind)
    if centre.nearest < 0 and drawn:
        return "Drawn at random: the first slice of all."
    if centre.nearest < 0:
        return f"The most typical slice of the cohort by {by}: a good first one."
    if centre.distance == 0:
        return f"Nothing different is left: identical by {by} to {pool.describe(centre.nearest)}."
    known = "annotated" if pool.annotated[centre.nearest] else "annotated or requested"
    return f"Unlike anything {known} so far by {by}; the nearest is {pool.describe(centre.nearest)}."


def fitting_device(device: str, features: np.ndarray) -> str:
    """The device on which to compute distances of these features: the CPU, or a CUDA GPU with enough memory.

    An Apple GPU has no double precision.

    Args:
        device: Torch device that the user chose.
        features: (n, d) array.
    """
    if not device.startswith("cuda"):
        return "cpu"
    import torch

    free, _ = torch.cuda.mem_get_info(device)
    return device if COPIES * 8 * features.size <= free else "cpu"


class Cover:
    """Points with their distance to the nearest centre and which centre that is.

    Distances are computed by matrix products, |x|^2 + |c|^2 - 2 x c, in double precision and with a point of the data
    as origin. That is several times as fast as differences, and equal distances still tie.

    Args:
        features: (n, d) float32 array, finite.
        device: Torch device for the distances.
    """

    def __init__(self, features: np.ndarray, device: str) -> None:
        import torch

        points = torch.from_numpy(np.ascontiguousarray(features)).to(device=device, dtype=torch.float64)
        self._points = points - points[0]
        self._norms = (self._points**2).sum(dim=1)
        self._squared = torch.full_like(self._norms, torch.inf)
        self._any = False
        self.nearest = torch.full((len(points),), -1, dtype=torch.long, device=device)
        """(n,) position of the nearest centre, -1 without centres."""

    def add(self, centres: np.ndarray) -> None:
        """Add centres, given by their positions."""
        import torch

        if not len(centres):
            return
        self._any = True
        for block in on_device(centres, self._points.device).split(BLOCK):
            squared, which = self._to(self._points[block]).min(dim=1)
            closer = squared < self._squared
            self._squared = torch.where(closer, squared, self._squared)
            self.nearest = torch.where(closer, block[which], self.nearest)

    def distance(self, position: int) -> float:
        """Distance of a point to its nearest centre; infinite without centres."""
        return float(self._squared[position].sqrt())

    def gains(self) -> np.ndarray:
        """Distance of every point to its nearest centre: (n,) float64.

        Without centres, how much nearer each point is to the mean of all points than the farthest one.
        """
        if not self._any:
            away = self._to(self._points.mean(dim=0, keepdim=True))[:, 0].sqrt()
            return (away.max() - away).cpu().numpy()
        return self._squared.sqrt().cpu().numpy()

    def farthest(self, allowed: np.ndarray) -> int:
        """The allowed point farthest from all centres; without centres, the one nearest to the mean of all points."""
        candidates = on_device(np.flatnonzero(allowed), self._points.device)
        reach = self._squared[candidates]
        if not self._any:
            reach = -self._to(self._points.mean(dim=0, keepdim=True))[candidates, 0]
        farthest = reach >= reach.max() - TIE * reach.max().abs()
        return int(candidates[farthest.byte().argmax()])  # the first of equal ones

    def _to(self, others: torch.Tensor) -> torch.Tensor:
        norms = (others**2).sum(dim=1)
        total = self._norms[:, None] + norms[None, :]
        squared = total - 2 * (self._points @ others.T)
        return squared.masked_fill(squared <= NOISE * total, 0.0)
