"""Export of a study's latest model, for use without the study and without this library."""

from __future__ import annotations

import os
from pathlib import Path

from ActiveSegmentationLib.common.durability import make_folder, sweep, temporary_name
from ActiveSegmentationLib.common.files import explained, remove_tree
from ActiveSegmentationLib.common.output_folder import output_folder
from ActiveSegmentationLib.loop.study_loop import StudyLoop
from ActiveSegmentationLib.segmentation import ExportContext, learner_class


def export_model(loop: StudyLoop, out: Path, format_name: str) -> list[Path]:
    """Write the latest model in a format of its learner.

    Args:
        loop: The study.
        out: Folder to write to; an earlier export in it is replaced.
        format_name: "safetensors" (our own files), "torchscript", "monai-bundle", "nnunet" (models of nnU-Net), or
            another of ``SegmentationLearner.export_formats``.

    Returns:
        The files written.

    Raises:
        BadInput: If no model is trained or its learner has no such format; if the folder holds files that were not
            written here, or one that was changed since.
        JobFailed: If the disk is full.
    """
    _, model = loop.require_model()
    learner = learner_class(model.members[0].settings.learner)
    about = ExportContext.of(loop.stack, [(label.value, label.name) for label in loop.study.labels.labels])
    out = Path(os.path.abspath(out))
    loop.study.require_output(out, [])
    with explained(out):
        make_folder(out.parent)
        sweep(out.parent, [out.name])
        unfinished = out.parent / temporary_name(out.name)
        try:
            made = learner.export(model, unfinished, format_name, about)
            return _moved(loop, {path: out / path.relative_to(unfinished) for path in made}, out)
        finally:
            remove_tree(unfinished)


def _moved(loop: StudyLoop, places: dict[Path, Path], out: Path) -> list[Path]:
    """Move files to their places in the folder."""
    targets = list(places.values())
    with output_folder(out, targets, "an exported model", loop.study.id, whole=True):
        for source, target in places.items():
            make_folder(target.parent)
            os.replace(source, target)
    return targets
