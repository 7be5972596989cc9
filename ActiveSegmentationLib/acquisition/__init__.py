"""Which slice next: one strategy a file behind one registry, all under the same constraints."""

from ActiveSegmentationLib.acquisition.badge import Badge
from ActiveSegmentationLib.acquisition.balanced_random import BalancedRandom
from ActiveSegmentationLib.acquisition.base import (
    Choice,
    Gains,
    ModelStrategy,
    Representativeness,
    ScoreStrategy,
    Situation,
    Strategy,
    check_choices,
)
from ActiveSegmentationLib.acquisition.constraints import Allowance, Constraints
from ActiveSegmentationLib.acquisition.coreset import Coreset, GroupContrastiveCoreset
from ActiveSegmentationLib.acquisition.k_center import Centre, k_center_greedy
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.pool import UNITS, Figure, Knowledge, Pool
from ActiveSegmentationLib.acquisition.random_choice import Random
from ActiveSegmentationLib.acquisition.registry import (
    ENTRY_POINT_GROUP,
    StrategyInfo,
    create_strategy,
    register,
    strategies,
    strategy_names,
)
from ActiveSegmentationLib.acquisition.strided import Strided
from ActiveSegmentationLib.acquisition.usim_cosine import UsimCosine
from ActiveSegmentationLib.acquisition.usim_fisher import UsimFisher

__all__ = [
    "ENTRY_POINT_GROUP",
    "UNITS",
    "Allowance",
    "Badge",
    "BalancedRandom",
    "Centre",
    "Choice",
    "Constraints",
    "Coreset",
    "Figure",
    "Gains",
    "GroupContrastiveCoreset",
    "Knowledge",
    "ModelStrategy",
    "Option",
    "Pool",
    "Random",
    "Representativeness",
    "ScoreStrategy",
    "Situation",
    "Strategy",
    "StrategyInfo",
    "Strided",
    "UsimCosine",
    "UsimFisher",
    "check_choices",
    "create_strategy",
    "k_center_greedy",
    "register",
    "strategies",
    "strategy_names",
]
