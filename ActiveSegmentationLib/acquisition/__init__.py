"""Which slice next: strategies in five families, all under the same limits.

- random choice: ``random_choice``, ``foreground_random``
- uncertainty: ``uncertain``, ``learning_loss``
- representativeness: ``k_center``, ``core_gcn``, ``typiclust``, ``probcover``, ``facility_location``, ``vaal``,
  ``sample_ratio``
- both: ``two_stages``, ``badge``, ``usim``, ``combination``
- wrappers: ``wrappers``, ``balanced``

``registry`` finds strategies by name, ``base`` defines the interface of a strategy, ``pool`` the data it may use.
"""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.acquisition.badge import Badge
    from ActiveSegmentationLib.acquisition.balanced import Balanced, Recommended
    from ActiveSegmentationLib.acquisition.base import (
        Choice,
        Gains,
        GreedyState,
        ModelStrategy,
        RepresentativeStrategy,
        ScoreStrategy,
        Situation,
        Strategy,
        as_clause,
        check_choices,
        greedy,
        pick_greedily,
        selection_generator,
    )
    from ActiveSegmentationLib.acquisition.combination import Borda, Prefilter, Product
    from ActiveSegmentationLib.acquisition.constraints import Allowance, Constraints
    from ActiveSegmentationLib.acquisition.core_gcn import CoreGCN
    from ActiveSegmentationLib.acquisition.facility_location import FacilityLocation
    from ActiveSegmentationLib.acquisition.foreground_random import ForegroundRandom
    from ActiveSegmentationLib.acquisition.k_center import Coreset, GroupContrastiveCoreset
    from ActiveSegmentationLib.acquisition.learning_loss import LearningLoss
    from ActiveSegmentationLib.acquisition.options import Option
    from ActiveSegmentationLib.acquisition.pool import Pool
    from ActiveSegmentationLib.acquisition.probcover import ProbCover
    from ActiveSegmentationLib.acquisition.random_choice import BalancedRandom, Random, Strided
    from ActiveSegmentationLib.acquisition.registry import (
        ENTRY_POINT_GROUP,
        StrategyInfo,
        create_strategy,
        strategies,
        strategy_class,
        strategy_names,
    )
    from ActiveSegmentationLib.acquisition.round_inputs import (
        UNITS,
        Embedder,
        PoolStatistics,
        RoundPlan,
        ScoreSpec,
        Sources,
    )
    from ActiveSegmentationLib.acquisition.sample_ratio import SampleRatio
    from ActiveSegmentationLib.acquisition.two_stages import BayesianSampleQuerying, SuggestiveAnnotation
    from ActiveSegmentationLib.acquisition.typiclust import TypiClust
    from ActiveSegmentationLib.acquisition.uncertain import (
        AugmentationJsd,
        Bald,
        ClassEntropy,
        DropoutEntropy,
        DropoutJsd,
        DropoutVariance,
        EnsembleEntropy,
        Entropy,
        LeastConfidence,
        Margin,
        MeanStd,
        VarianceRatio,
    )
    from ActiveSegmentationLib.acquisition.usim import UsimCosine, UsimFisher
    from ActiveSegmentationLib.acquisition.vaal import Vaal
    from ActiveSegmentationLib.acquisition.wrappers import ClaspPe, PerSecond, Power, StochasticBatches
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
