"""Cohorts of medical images: who and what they hold, read from many layouts, and their slices as one stack."""

from ActiveSegmentationLib.cohort.axes import AXIS_CHOICES, AxisSummary, describe_axes, describe_turns, plane_name
from ActiveSegmentationLib.cohort.discovery import LAYOUTS, discover
from ActiveSegmentationLib.cohort.grid import PlaneGrid
from ActiveSegmentationLib.cohort.io import read_image, read_label_map, read_labels, write_label_map, write_volume
from ActiveSegmentationLib.cohort.phantom import write_phantom
from ActiveSegmentationLib.cohort.preprocessing import PRESETS as STACK_PRESETS
from ActiveSegmentationLib.cohort.preprocessing import StackSettings, reduced_size
from ActiveSegmentationLib.cohort.previews import Preview, write_previews
from ActiveSegmentationLib.cohort.problems import ProblemGroup, grouped_problems, repeated
from ActiveSegmentationLib.cohort.scribbles import scribble_from_mask
from ActiveSegmentationLib.cohort.split import read_split, split_text, with_roles
from ActiveSegmentationLib.cohort.stack import SliceStack, StackVolume, open_stack
from ActiveSegmentationLib.cohort.stack_building import UnusableVolumes, build_stack
from ActiveSegmentationLib.cohort.stack_contents import image_hashes
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
from ActiveSegmentationLib.common.labels import BACKGROUND, IGNORE_LABEL

__all__ = [
    "AXIS_CHOICES",
    "BACKGROUND",
    "IGNORE_LABEL",
    "LAYOUTS",
    "STACK_PRESETS",
    "AnnotationKind",
    "AxisSummary",
    "Cohort",
    "Geometry",
    "LabelSource",
    "PlaneGrid",
    "Preview",
    "Problem",
    "ProblemGroup",
    "Role",
    "SliceId",
    "SliceStack",
    "Source",
    "StackSettings",
    "StackVolume",
    "Turn",
    "UnusableVolumes",
    "Volume",
    "build_stack",
    "describe_axes",
    "describe_turns",
    "discover",
    "grouped_problems",
    "image_hashes",
    "open_stack",
    "plane_name",
    "read_image",
    "read_label_map",
    "read_labels",
    "read_split",
    "reduced_size",
    "repeated",
    "scribble_from_mask",
    "slices_first",
    "split_text",
    "volume_order",
    "with_roles",
    "write_label_map",
    "write_phantom",
    "write_previews",
    "write_volume",
]
