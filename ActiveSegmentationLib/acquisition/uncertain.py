"""Uncertainty strategies: each scores slices by one uncertainty map of one sampler's predictions.

Strategies that differ only by sampler, map and reason are rows of the table at the end.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, make_dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np

from ActiveSegmentationLib.acquisition.base import ScoreStrategy
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.ranking import percentile_text
from ActiveSegmentationLib.acquisition.round_inputs import ScoreSpec

if TYPE_CHECKING:
    from ActiveSegmentationLib.uncertainty import Sampler

Aggregate = Annotated[
    Literal["mean", "sum", "max", "top", "foreground"],
    Option(
        "which pixels of a slice count: all (mean or sum), the predicted foreground and its surroundings, the top 5 %, "
        "or the single least certain one (max)"
    ),
]
Passes = Annotated[int, Option("predictions drawn per slice; more are less noisy and slower", least=2, most=1000)]
DropoutProbability = Annotated[
    float, Option("dropout probability of these predictions; 0 for the training's", least=0, most=0.95)
]
Formula = Annotated[
    Literal["minus", "plus"],
    Option("minus for the paper's divergence, plus for half the sum of both entropies as in its released code"),
]
DIVERGENCES = {"minus": "mutual-information", "plus": "half-sum-of-entropies"}
"""Uncertainty map of each formula of the Jensen-Shannon divergence."""


@dataclass(frozen=True)
class Uncertain(ScoreStrategy):
    """A strategy whose score is one number of one sampler's predictions.

    Attributes:
        map_name: Name of the map from ``uncertainty.SCORES``.
        finding: The reason, a sentence with "{others}" as the placeholder of "97 % of the other slices".
    """

    map_name: ClassVar[str]
    finding: ClassVar[str] = "The model is less sure of this slice than of {others}."

    aggregate: Aggregate = "mean"

    @abc.abstractmethod
    def sampler(self) -> Sampler:
        """Where the predictions come from."""

    def score_name(self) -> str:
        """Name of the map that is averaged."""
        return self.map_name

    @property
    def spec(self) -> ScoreSpec:
        """The score."""
        suffix = "" if self.aggregate == "mean" else f":{self.aggregate}"
        return ScoreSpec(self.sampler(), self.score_name() + suffix)

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Its one score; see ``Strategy.score_specs``."""
        return (self.spec,)

    def score(self, pool: Pool) -> np.ndarray:
        """The score of every slice; see ``ScoreStrategy.score``."""
        return pool.scores(self.spec)

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """How the slice compares to the others; see ``ScoreStrategy.reason``."""
        return self.finding.format(others=percentile_text(self.score(pool), position))


@dataclass(frozen=True)
class Predicted(Uncertain):
    """Uncertainty of one prediction without dropout; with several ensemble members, of their mean."""

    def sampler(self) -> Sampler:
        """A single prediction per slice."""
        from ActiveSegmentationLib.uncertainty import Deterministic

        return Deterministic()


@dataclass(frozen=True)
class DropoutUncertain(Uncertain):
    """Uncertainty of predictions with dropout; with several ensemble members, over the passes of all of them."""

    needs = frozenset({"dropout"})
    requires = "a model with dropout"
    finding = "Predictions with randomly disabled parts of the model agree less on this slice than on {others}."

    passes: Passes = 10
    p: DropoutProbability = 0.0

    def sampler(self) -> Sampler:
        """Monte Carlo dropout."""
        from ActiveSegmentationLib.uncertainty import Dropout

        return Dropout(self.passes, self.p or None)


@dataclass(frozen=True)
class EnsembleUncertain(Uncertain):
    """Uncertainty of the predictions of several ensemble members, without dropout."""

    needs = frozenset({"members"})
    requires = "two or more ensemble members"

    def sampler(self) -> Sampler:
        """One prediction per ensemble member."""
        from ActiveSegmentationLib.uncertainty import EnsembleSampler

        return EnsembleSampler()


@dataclass(frozen=True)
class DropoutJsd(DropoutUncertain):
    """Jensen-Shannon divergence of predictions with dropout, H(mean_t p_t) - mean_t H(p_t), mean over pixels (the
    baseline "Dropout" of Gaillochet 2023: 8 passes, p = 0.5; the formula is BALD's).

    Needs a trained model with dropout. Cost: ``passes`` predictions of every slice by every model.
    """

    name = "dropout-jsd"
    summary = "Slices on which predictions with dropout differ most from one another."
    source = "Gaillochet 2023"

    passes: Passes = 8
    formula: Formula = "minus"

    def score_name(self) -> str:
        """Divergence, or half the sum."""
        return DIVERGENCES[self.formula]


@dataclass(frozen=True)
class MeanStd(DropoutUncertain):
    """Standard deviation of each class over passes with dropout, mean over classes and pixels (Kendall et al. 2017; the
    baseline "Mean STD" of ALUNET: 10 passes, p = 0.1).

    With statistic="var" it is the variance, as in the code released with ALUNET. Needs a trained model with dropout.
    Cost: ``passes`` predictions of every slice by every model.
    """

    name = "mean-std"
    summary = "Slices whose predicted probabilities have the largest standard deviation with dropout."
    source = "Foellmer 2024"

    p: DropoutProbability = 0.1
    statistic: Annotated[Literal["std", "var"], Option("standard deviation, or variance as released")] = "std"

    def score_name(self) -> str:
        """Standard deviation or variance, mean over the classes."""
        return {"std": "std", "var": "variance"}[self.statistic]


@dataclass(frozen=True)
class AugmentationJsd(Uncertain):
    """Jensen-Shannon divergence of the predictions of a slice and of rotated, noisy copies of it, mean over the pixels
    that all rotations keep (the baseline "TTA" of Gaillochet 2023: 7 copies and the slice itself, rotations from U(-10,
    10) degrees, noise of standard deviation 0.01).

    Needs a trained model, no dropout. Cost: ``passes`` + 1 predictions of every slice.
    """

    name = "tta-jsd"
    needs = frozenset({"augmentation"})
    summary = "Slices whose prediction changes when they are rotated slightly; needs no dropout."
    source = "Gaillochet 2023"
    finding = "Rotating this slice slightly changes its prediction more than for {others}."

    passes: Annotated[
        int, Option("predictions drawn per slice; more are less noisy and slower", least=1, most=1000)
    ] = 7
    rotation: Annotated[float, Option("largest rotation in degrees, in either direction", least=0, most=90)] = 10.0
    noise: Annotated[
        float, Option("standard deviation of the noise, in units of the normalised images", least=0, most=10)
    ] = 0.01
    formula: Formula = "minus"

    def sampler(self) -> Sampler:
        """Test-time augmentation."""
        from ActiveSegmentationLib.uncertainty import TestTimeAugmentation

        return TestTimeAugmentation(self.passes, self.rotation, self.noise)

    def score_name(self) -> str:
        """Divergence, or half the sum."""
        return DIVERGENCES[self.formula]


@dataclass(frozen=True)
class ClassEntropy(ScoreStrategy):
    """Mean over the foreground classes of u_c / mean(u_c), where u_c is the class-weighted entropy of ClaSP PE (2026):
    the mean over the pixels of the probability of class c times the entropy. Its mean is taken over the cohort.

    A small or rare organ thus counts as much as a large one. Needs a trained model. Cost: one prediction of every
    slice.
    """

    name = "class-entropy"
    summary = "Slices on which the model is unsure of an organ; small organs count as much as large ones."
    source = "ours, after ClaSP PE"

    @property
    def score_specs(self) -> tuple[ScoreSpec, ...]:
        """Entropy by class; see ``Strategy.score_specs``."""
        from ActiveSegmentationLib.uncertainty import Deterministic

        return (ScoreSpec(Deterministic(), "class-entropy"),)

    def score(self, pool: Pool) -> np.ndarray:
        """The mean over the foreground classes; see ``ScoreStrategy.score``."""
        found = pool.scores(self.score_specs[0])[:, 1:].astype(np.float64)
        usual = found.mean(axis=0)
        known = usual > 0
        return (found[:, known] / usual[known]).mean(axis=1) if known.any() else np.zeros(len(pool))

    def reason(self, pool: Pool, position: int, score: float) -> str:
        """How the slice compares to the others; see ``ScoreStrategy.reason``."""
        others = percentile_text(self.score(pool), position)
        return f"The model is less sure of the organs in this slice than in {others}."


Row = TypeVar("Row", bound=Uncertain)


def _row(base: type[Row], cls: str, name: str, map_name: str, about: str, **words: Any) -> type[Row]:
    """Create a strategy class of the table.

    Args:
        base: Base class, which defines the sampler.
        cls: Name of the class.
        name: Name of the strategy.
        map_name: Map from ``uncertainty.SCORES`` whose mean is the score.
        about: Docstring.
        words: "summary", "source" and "finding" as in ``Uncertain``; "passes" if the default differs.
    """
    fields = [("passes", Passes, words.pop("passes"))] if "passes" in words else []
    namespace = {"name": name, "map_name": map_name, "__doc__": about, "__module__": __name__, **words}
    return make_dataclass(cls, fields, bases=(base,), namespace=namespace, frozen=True)


ONE_PASS = "Needs a trained model. Cost: one prediction of every slice, O(n)."
WITH_DROPOUT = "Needs a trained model with dropout. Cost: ``passes`` predictions of every slice by every model."
OF_MEMBERS = "Needs two or more ensemble members. Cost: one prediction of every slice by every model."

Entropy = _row(
    Predicted,
    "Entropy",
    "entropy",
    "entropy",
    f"Mean over pixels of H(p) = -sum_c p_c ln p_c (the baseline of Gaillochet 2023 and others). {ONE_PASS}",
    summary="Slices on which the model is least sure; often near-duplicates of one another.",
    source="Gaillochet, Foellmer, Vepa",
)
Margin = _row(
    Predicted,
    "Margin",
    "margin",
    "margin",
    f"Mean over pixels of 1 - (p_first - p_second), of the two most probable classes (Scheffer 2001). {ONE_PASS}",
    summary="Slices on which the model hesitates between two labels.",
    source="benchmarks",
    finding="The model hesitates between two labels more in this slice than in {others}.",
)
LeastConfidence = _row(
    Predicted,
    "LeastConfidence",
    "least-confidence",
    "least-confidence",
    f"Mean over pixels of one minus the highest class probability (Lewis and Gale 1994). {ONE_PASS}",
    summary="Slices whose predicted labels are the least probable on average.",
    source="benchmarks",
    finding="The model gives its labels on this slice a lower probability than on {others}.",
)
DropoutEntropy = _row(
    DropoutUncertain,
    "DropoutEntropy",
    "dropout-entropy",
    "entropy",
    f"Entropy of the mean prediction H(mean_t p_t), mean over pixels (Gal et al. 2017). {WITH_DROPOUT}",
    summary="Slices on which the average of predictions with dropout is least sure; steadier than plain entropy.",
    source="Gal 2017",
    finding="Averaged over predictions with dropout, the model is less sure of this slice than of {others}.",
)
Bald = _row(
    DropoutUncertain,
    "Bald",
    "bald",
    "mutual-information",
    "Mutual information of prediction and weights, H(mean_t p_t) - mean_t H(p_t), mean over pixels (Houlsby et al. "
    f"2011; Gal et al. 2017; 10 passes as in ALUNET, Vepa 2024 has 40). {WITH_DROPOUT}",
    summary="Slices on which predictions with dropout contradict one another: more examples would help there.",
    source="Vepa, Foellmer (Houlsby 2011)",
)
DropoutVariance = _row(
    DropoutUncertain,
    "DropoutVariance",
    "dropout-variance",
    "foreground-variance",
    "Variance of each foreground class over passes with dropout, mean over pixels and these classes (Ozdemir et al. "
    f"2021, Eq. 2). {WITH_DROPOUT}",
    summary="Slices whose predicted probabilities vary most with dropout, by the mean variance of each label.",
    source="Ozdemir 2021, Eq. 2",
    passes=17,
)
VarianceRatio = _row(
    EnsembleUncertain,
    "VarianceRatio",
    "variance-ratio",
    "variance-ratio",
    "Share of the ensemble members that do not vote for the most frequent class, 1 - f / M, mean over pixels (Freeman "
    "1965; the baseline of Vepa 2024, whose code compares differently augmented copies; here the members see the same "
    f"image). {OF_MEMBERS}",
    summary="Slices in which ensemble members vote for different labels; needs two or more members.",
    source="Vepa 2024",
    finding="The models vote for different labels in a larger part of this slice than of {others}.",
)
EnsembleEntropy = _row(
    EnsembleUncertain,
    "EnsembleEntropy",
    "ensemble-entropy",
    "entropy",
    "Entropy of the models' mean prediction, mean over pixels (Beluch et al. 2018; the uncertainty under the "
    f"stochastic batches of Vepa 2024). {OF_MEMBERS}",
    summary="Slices on which the average of the ensemble members is least sure; needs two or more members.",
    source="Vepa 2024",
    finding="The models together are less sure of this slice than of {others}.",
)
