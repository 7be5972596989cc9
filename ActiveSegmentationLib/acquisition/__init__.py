"""Which slice next: one strategy a file behind one registry, all under the same constraints."""

from ActiveSegmentationLib.acquisition.balanced_random import BalancedRandom
from ActiveSegmentationLib.acquisition.base import Choice, Strategy, check_choices
from ActiveSegmentationLib.acquisition.constraints import Allowance, Constraints
from ActiveSegmentationLib.acquisition.coreset import Coreset, GroupContrastiveCoreset
from ActiveSegmentationLib.acquisition.k_center import Centre, k_center_greedy
from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.acquisition.random_choice import Random
from ActiveSegmentationLib.acquisition.registry import ENTRY_POINT_GROUP, create_strategy, register, strategy_names
from ActiveSegmentationLib.acquisition.strided import Strided

__all__ = [
    "ENTRY_POINT_GROUP",
    "Allowance",
    "BalancedRandom",
    "Centre",
    "Choice",
    "Constraints",
    "Coreset",
    "GroupContrastiveCoreset",
    "Pool",
    "Random",
    "Strategy",
    "Strided",
    "check_choices",
    "create_strategy",
    "k_center_greedy",
    "register",
    "strategy_names",
]
