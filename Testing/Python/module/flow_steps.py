"""The steps of the flow, each after the one before."""

from __future__ import annotations

import numpy as np

from .flow import MODEL, SLICES, planesOf


def nothingOpen(flow):
    pass


def studyOpen(flow):
    flow.createStudy()


def suggested(flow):
    studyOpen(flow)
    flow.suggest()


def sliceOpen(flow):
    """One slice is committed, the next is open."""
    suggested(flow)
    flow.session.openRequest(1)
    flow.module.draw(2, flow.mask())
    flow.module.click("commitButton")
    assert flow.session.task.row.number == 2


def strokesDrawn(flow):
    """Two slices have uncommitted strokes; one of them is open."""
    sliceOpen(flow)
    flow.session.openSlice(flow.case.sliceId(4))
    flow.draw(3)
    flow.session.openRequest(2)
    flow.draw(1)
    flow.draw(2, 20)


def committed(flow):
    strokesDrawn(flow)
    sliceId = flow.session.task.slice
    flow.session.annotating.commit()
    flow.expected[sliceId] = planesOf(flow.case, sliceId.index)


def giveReview(flow):
    """What the worker answers of the open volume."""
    import SimpleITK

    volume = flow.case.volume
    paths = {}
    for name, value in (("labels", 2), ("uncertainty", 0.7)):
        array = np.zeros(volume.geometry.array_shape, np.uint8 if name == "labels" else np.float32)
        array[:, 10:20, 10:25] = value
        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing(volume.geometry.spacing)
        image.SetOrigin(volume.geometry.origin)
        image.SetDirection(volume.geometry.direction)
        paths[name] = str(flow.tmp / f"{name}.nii.gz")
        SimpleITK.WriteImage(image, paths[name])
    review = {"volume": volume.id, "model": MODEL, "doubt": 0.5, "slice_doubt": [0.5] * SLICES, **paths}
    flow.session.overlays.setReviews([review])


def predictionShown(flow):
    strokesDrawn(flow)
    giveReview(flow)
    flow.session.overlays.showPrediction(True)
    flow.session.overlays.showUncertainty(0.5)


def workerBusy(flow):
    strokesDrawn(flow)
    flow.hold()


STEPS = (nothingOpen, studyOpen, suggested, sliceOpen, strokesDrawn, committed, predictionShown, workerBusy)
