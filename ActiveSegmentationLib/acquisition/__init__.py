"""Which slice next: one strategy a file behind one registry, all under the same constraints."""

from ActiveSegmentationLib.acquisition.badge import Badge
from ActiveSegmentationLib.acquisition.balanced import Balanced
from ActiveSegmentationLib.acquisition.balanced_random import BalancedRandom
from ActiveSegmentationLib.acquisition.bald import Bald
from ActiveSegmentationLib.acquisition.base import (
    Choice,
    Gains,
    ModelStrategy,
    Representativeness,
    ScoreStrategy,
    Situation,
    Strategy,
    as_clause,
    check_choices,
    selection_generator,
)
from ActiveSegmentationLib.acquisition.bayesian_sample_querying import BayesianSampleQuerying
from ActiveSegmentationLib.acquisition.borda import Borda
from ActiveSegmentationLib.acquisition.clasp import ClaspPe
from ActiveSegmentationLib.acquisition.class_entropy import ClassEntropy
from ActiveSegmentationLib.acquisition.constraints import Allowance, Constraints
from ActiveSegmentationLib.acquisition.core_gcn import CoreGCN
from ActiveSegmentationLib.acquisition.coreset import Coreset
from ActiveSegmentationLib.acquisition.dropout_entropy import DropoutEntropy
from ActiveSegmentationLib.acquisition.dropout_jsd import DropoutJsd
from ActiveSegmentationLib.acquisition.dropout_variance import DropoutVariance
from ActiveSegmentationLib.acquisition.ensemble_entropy import EnsembleEntropy
from ActiveSegmentationLib.acquisition.entropy import Entropy
from ActiveSegmentationLib.acquisition.facility_location import FacilityLocation
from ActiveSegmentationLib.acquisition.foreground_random import ForegroundRandom
from ActiveSegmentationLib.acquisition.group_contrastive_coreset import GroupContrastiveCoreset
from ActiveSegmentationLib.acquisition.k_center import Centre, k_center_greedy
from ActiveSegmentationLib.acquisition.learning_loss import LearningLoss
from ActiveSegmentationLib.acquisition.least_confidence import LeastConfidence
from ActiveSegmentationLib.acquisition.margin import Margin
from ActiveSegmentationLib.acquisition.mean_std import MeanStd
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.per_second import PerSecond
from ActiveSegmentationLib.acquisition.pool import UNITS, Figure, Knowledge, Pool
from ActiveSegmentationLib.acquisition.power import Power
from ActiveSegmentationLib.acquisition.prefilter import Prefilter
from ActiveSegmentationLib.acquisition.probcover import ProbCover
from ActiveSegmentationLib.acquisition.product import Product
from ActiveSegmentationLib.acquisition.random_choice import Random
from ActiveSegmentationLib.acquisition.recommended import Recommended
from ActiveSegmentationLib.acquisition.registry import (
    ENTRY_POINT_GROUP,
    StrategyInfo,
    create_strategy,
    make_strategy,
    register,
    strategies,
    strategy_names,
)
from ActiveSegmentationLib.acquisition.sample_ratio import SampleRatio
from ActiveSegmentationLib.acquisition.stochastic_batches import StochasticBatches
from ActiveSegmentationLib.acquisition.strided import Strided
from ActiveSegmentationLib.acquisition.suggestive_annotation import SuggestiveAnnotation
from ActiveSegmentationLib.acquisition.tta_jsd import AugmentationJsd
from ActiveSegmentationLib.acquisition.typiclust import TypiClust
from ActiveSegmentationLib.acquisition.uncertain import Uncertain
from ActiveSegmentationLib.acquisition.usim_cosine import UsimCosine
from ActiveSegmentationLib.acquisition.usim_fisher import UsimFisher
from ActiveSegmentationLib.acquisition.vaal import Vaal
from ActiveSegmentationLib.acquisition.variance_ratio import VarianceRatio
from ActiveSegmentationLib.acquisition.wrapping import Scorer, ScoreWrapper

__all__ = [
    "ENTRY_POINT_GROUP",
    "UNITS",
    "Allowance",
    "AugmentationJsd",
    "Badge",
    "Balanced",
    "BalancedRandom",
    "Bald",
    "BayesianSampleQuerying",
    "Borda",
    "Centre",
    "Choice",
    "ClaspPe",
    "ClassEntropy",
    "Constraints",
    "CoreGCN",
    "Coreset",
    "DropoutEntropy",
    "DropoutJsd",
    "DropoutVariance",
    "EnsembleEntropy",
    "Entropy",
    "FacilityLocation",
    "Figure",
    "ForegroundRandom",
    "Gains",
    "GroupContrastiveCoreset",
    "Knowledge",
    "LearningLoss",
    "LeastConfidence",
    "Margin",
    "MeanStd",
    "ModelStrategy",
    "Option",
    "PerSecond",
    "Pool",
    "Power",
    "Prefilter",
    "ProbCover",
    "Product",
    "Random",
    "Recommended",
    "Representativeness",
    "SampleRatio",
    "ScoreStrategy",
    "ScoreWrapper",
    "Scorer",
    "Situation",
    "StochasticBatches",
    "Strategy",
    "StrategyInfo",
    "Strided",
    "SuggestiveAnnotation",
    "TypiClust",
    "Uncertain",
    "UsimCosine",
    "UsimFisher",
    "Vaal",
    "VarianceRatio",
    "as_clause",
    "check_choices",
    "create_strategy",
    "k_center_greedy",
    "make_strategy",
    "register",
    "selection_generator",
    "strategies",
    "strategy_names",
]
