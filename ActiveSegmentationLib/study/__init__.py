"""Studies: label set, requests, annotations, rounds and audit, in a folder that only this package writes.

Importing it needs NumPy only; SimpleITK and filelock are imported by the functions that need them.
"""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.cohort.segments import BACKGROUND_SEGMENT, UNLABELLED_SEGMENT_ID, UNLABELLED_SEGMENT_NAME
    from ActiveSegmentationLib.study.anchor import Anchor
    from ActiveSegmentationLib.study.annotation_store import ChangedMeanwhile
    from ActiveSegmentationLib.study.annotations import SliceAnnotation, hash_labels
    from ActiveSegmentationLib.study.audit import Audit
    from ActiveSegmentationLib.study.drafts import Draft
    from ActiveSegmentationLib.study.exchange import (
        Imported,
        commit_arrays,
        counts_by_volume,
        export_annotations,
        import_annotations,
    )
    from ActiveSegmentationLib.study.label_names import check_reference, label_set_for
    from ActiveSegmentationLib.study.labels import Label, LabelSet
    from ActiveSegmentationLib.study.names import DEFAULT_ANNOTATOR
    from ActiveSegmentationLib.study.relocation import relocate
    from ActiveSegmentationLib.study.repair import Repair
    from ActiveSegmentationLib.study.requests import Request, RequestList
    from ActiveSegmentationLib.study.slice_records import SliceFile, SliceRecord, SliceStatus, Version
    from ActiveSegmentationLib.study.study import Study
    from ActiveSegmentationLib.study.study_file import MIGRATIONS, SCHEMA, StudySettings
    from ActiveSegmentationLib.study.usual_settings import usual_learner, with_usual_learner
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
