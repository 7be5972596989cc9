"""Cohorts of medical images: patients, volumes and slices, read from many layouts, and the slice stack."""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.cohort.axes import AXIS_CHOICES, AxisSummary, describe_axes, describe_turns, plane_name
    from ActiveSegmentationLib.cohort.discovery import LAYOUTS, discover
    from ActiveSegmentationLib.cohort.grid import PlaneGrid
    from ActiveSegmentationLib.cohort.io import read_image, read_label_map, read_labels, write_label_map, write_volume
    from ActiveSegmentationLib.cohort.phantom import write_phantom
    from ActiveSegmentationLib.cohort.preprocessing import PRESETS as STACK_PRESETS
    from ActiveSegmentationLib.cohort.preprocessing import StackSettings, reduced_size
    from ActiveSegmentationLib.cohort.previews import Preview, write_previews
    from ActiveSegmentationLib.cohort.problems import ProblemGroup, grouped_problems, repeated
    from ActiveSegmentationLib.cohort.pseudonyms import Pseudonyms, pseudonymised, require_apart
    from ActiveSegmentationLib.cohort.scribbles import scribble_from_mask
    from ActiveSegmentationLib.cohort.source_volumes import SourceVolume
    from ActiveSegmentationLib.cohort.split import read_split, split_text, with_roles
    from ActiveSegmentationLib.cohort.stack import SliceStack
    from ActiveSegmentationLib.cohort.stack_building import UnusableVolumes, build_stack
    from ActiveSegmentationLib.cohort.stack_contents import image_hashes
    from ActiveSegmentationLib.cohort.stack_files import StackVolume
    from ActiveSegmentationLib.cohort.stack_parts import StackPart, parts_to_prepare, remove_parts
    from ActiveSegmentationLib.cohort.turns import Turn
    from ActiveSegmentationLib.cohort.types import (
        AnnotationKind,
        Cohort,
        Geometry,
        LabelSource,
        Problem,
        Role,
        SliceId,
        Source,
        Volume,
        slices_first,
        volume_order,
    )
    from ActiveSegmentationLib.cohort.volume_writing import VolumeFormat, VolumeWriter, volume_writer
    from ActiveSegmentationLib.common.labels import BACKGROUND, IGNORE_LABEL
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
