"""The active learning loop, for a study or an experiment: select slices, train, predict, score, export."""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.loop.annotation_statistics import pool_statistics, true_classes, true_extents
    from ActiveSegmentationLib.loop.device import describe_device, resolve_device, versions
    from ActiveSegmentationLib.loop.embeddings import Embeddings, is_learned
    from ActiveSegmentationLib.loop.learners import choose_learner, chosen_learner, study_learners, trained_learner
    from ActiveSegmentationLib.loop.model_export import export_model
    from ActiveSegmentationLib.loop.outputs import EXPORT_FORMATS, METRICS, evaluate_study, export_study, predict_study
    from ActiveSegmentationLib.loop.overview import study_overview
    from ActiveSegmentationLib.loop.prequential import PrequentialScore, prequential_score
    from ActiveSegmentationLib.loop.review import VolumeReview, review_study
    from ActiveSegmentationLib.loop.scores import ScoreSummary, summarise, write_scores_csv
    from ActiveSegmentationLib.loop.selection import (
        SelectionRequest,
        SelectionResult,
        SelectionState,
        choose_slices,
        require_usable,
        settings_for,
        suggest,
    )
    from ActiveSegmentationLib.loop.settings import LoopSettings
    from ActiveSegmentationLib.loop.situation import change_training, model_abilities, study_settings, study_situation
    from ActiveSegmentationLib.loop.slice_maps import METHODS as MAP_METHODS
    from ActiveSegmentationLib.loop.slice_maps import SliceMap, slice_map
    from ActiveSegmentationLib.loop.study_loop import StudyLoop
    from ActiveSegmentationLib.loop.thumbnails import write_thumbnails
    from ActiveSegmentationLib.loop.training import (
        TrainingData,
        VolumeScore,
        decided_settings,
        evaluate_volumes,
        report_left_out,
        train,
        volumes_of,
    )
    from ActiveSegmentationLib.loop.validation import require_validation
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
