"""Late answers of the worker go to what they were requested for: nothing is drawn, shown or trained elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
import slicer
import vtk

from ActiveSegmentationLib.cohort import SliceId, volume_order, write_label_map, write_volume
from ActiveSegmentationLib.scene.offers import PREDICTION, REQUESTS, SUGGEST, AutoTrain
from ActiveSegmentationLib.scene.subjects import patientItem
from ActiveSegmentationLib.study import Request, RequestList

from .held_client import HeldClient
from .slice_contract import rectangle, scroll, undoEditor
from .views_contract import OneView, openCohort

MODEL = "model-1"


def patientOf(node):
    """Name of the patient item above a node."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return hierarchy.GetItemName(patientItem(node))


class Late:
    """A session in a view, with a worker that waits."""

    def __init__(self, python, folder):
        self.folder, self.views, self.client = folder, OneView(), HeldClient()
        self.logic = openCohort(python, folder, self.views, undoEditor())
        self.session, self.work = self.logic.session, self.logic.work
        self.work.client = self.client
        self.said, self.failed = [], []
        self.work.said.connect(self.said.append)
        self.work.failed.connect(self.failed.append)
        self.volume = self.session.study.cohort.volumes[1]
        self.other = self.session.study.cohort.volumes[3]

    def open(self, index=2, volume=None):
        self.session.openSlice(SliceId((volume or self.volume).id, index))

    def draw(self, value, mask=None):
        volume, index = self.session.case.volume, self.session.task.slice.index
        self.session.editor.stroke.paint(
            f"Segment_{value}", volume.axis, index, rectangle(volume) if mask is None else mask
        )

    def drawn(self, index):
        return self.session.case.capture(index)

    def review(self, volume=None, empty=(), model=MODEL):
        """What the worker answers of a volume: label 2 in a corner of every slice."""
        volume = volume or self.volume
        planes = np.zeros((volume.slice_count, *volume.plane_shape), np.uint8)
        planes[:, :5, :7] = 2
        planes[list(empty)] = 0
        labels, uncertainty = self.folder / f"{volume.id}.nrrd", self.folder / f"{volume.id}-u.nrrd"
        write_label_map(labels, volume_order(planes, volume.axis), volume.geometry)
        write_volume(uncertainty, volume_order(planes.astype(np.float32) / 4, volume.axis), volume.geometry)
        scores = {"doubt": 0.5, "slice_doubt": [0.5] * volume.slice_count}
        return {"volume": volume.id, "model": model, "labels": str(labels), "uncertainty": str(uncertainty), **scores}

    def predicted(self, **options):
        self.client.answer("predict", {"reviews": [self.review(**options)], "left_out": []})

    def request(self, *slices):
        requests = tuple(
            Request(s, self.session.study.cohort.volume(s.volume).patient, 2, None, "because") for s in slices
        )
        found = RequestList(self.session.study.requests.next_round(), "strided", 0, {}, requests)
        self.session.study.requests.write(found)
        return {"requests": found.to_json(), "thumbnails": [""] * len(slices)}

    def close(self):
        self.logic.close()
        self.views.close()


@pytest.fixture
def late(module, tmp_path):
    opened = Late(module.loaded.python, tmp_path)
    yield opened
    opened.close()


def test_a_prediction_is_drawn_where_it_was_asked_for(late):
    late.open(2)
    late.work.startFromPrediction()
    about = late.client.of("predict")[0].about
    assert about == {"study": late.session.study.id, "volume": late.volume.id, "slice": 2}
    late.predicted()
    assert (late.drawn(2)[:5, :7] == 2).all()
    assert not late.work.offers


def goOn(late):
    late.open(5)


def scrollAway(late):
    scroll(late.session, 4)


def drawSince(late):
    late.draw(1)


def anotherVolume(late):
    late.open(1, late.other)


@pytest.mark.parametrize("meanwhile", [goOn, scrollAway, drawSince, anotherVolume])
def test_a_late_prediction_is_offered(late, meanwhile):
    late.open(2)
    late.work.startFromPrediction()
    meanwhile(late)
    volume, index = late.session.case.volume, late.session.task.slice.index
    before = late.drawn(index).copy()
    late.predicted()
    assert np.array_equal(late.drawn(index), before)
    (offer,) = late.work.offers
    assert (offer.kind, offer.slice) == (PREDICTION, SliceId(late.volume.id, 2))
    late.work.accept(offer)
    assert late.session.task.slice == SliceId(late.volume.id, 2)
    assert late.session.view.isOnSlice
    assert (late.drawn(2)[:5, :7] == 2).all()
    assert not late.work.offers
    if meanwhile is drawSince:
        late.session.editor.stroke.undo()
        assert np.array_equal(late.drawn(2), before)
    if meanwhile is goOn:
        assert volume is late.session.case.volume
        assert np.array_equal(late.drawn(5), before)


def test_an_empty_prediction_takes_no_stroke_away(late):
    late.open(2)
    late.draw(1)
    before = late.drawn(2).copy()
    late.work.startFromPrediction()
    late.predicted(empty=[2])
    assert np.array_equal(late.drawn(2), before)
    assert "prediction is empty" in late.said[-1]


def test_results_of_a_study_never_appear_under_another(late, tmp_path):
    first = late.session.study
    late.open(2)
    late.work.startFromPrediction()
    late.work.readCurve()
    late.work.layOut()
    late.work.suggest(2, openFirst=True)
    late.work.train()
    seen = []
    late.work.reported.connect(lambda name, message: seen.append(name))
    answer = late.request(SliceId(late.volume.id, 3))
    late.logic.createStudy(tmp_path / "second", tmp_path / "cohort", labels="1=one,2=two")
    late.open(2)
    training = late.client.of("train")[0]
    training.progress.emit({"stage": "Training", "done": 1, "total": 9, "left": None, "values": {"loss": 1.0}})
    assert not seen
    assert not late.work.isRunning("train")
    assert "study study" in late.work.running[-1].text()
    training.message.emit("half way")
    assert late.said[-1] == "Study study: half way"
    training.message.emit("note: nothing to do")
    assert late.said[-1] == "Study study: half way"
    late.predicted()
    late.client.answer("curve", {"curve": [{"annotated": 3, "unseen": None, "reference": None}]})
    late.client.answer("slice_map", {"volumes": [], "slices": [], "places": [], "embedding": ""})
    late.client.answer("suggest", answer)
    late.client.answer("train", {"curve": [{"annotated": 3}], "annotated": 3})
    assert not late.session.overlays.reviews
    assert not late.work.curve
    assert late.work.sliceMap is None
    assert not late.work.offers
    assert not late.session.requests.rows
    assert late.session.task.slice == SliceId(late.volume.id, 2)
    assert not late.drawn(2).any()
    late.work.readCurve()
    late.session.openStudy(late.session.study.folder)
    late.client.answer("curve", {"curve": [{"annotated": 4, "unseen": None, "reference": None}]})
    assert late.work.curve[0]["annotated"] == 4, "the same study, opened again, is the one it was asked for"
    late.session.openStudy(first.folder)
    assert not late.work.curve


def test_requests_that_come_late_are_offered(late):
    late.work.suggest(1, openFirst=True)
    late.client.answer("suggest", late.request(SliceId(late.volume.id, 3)))
    assert late.session.task.slice.index == 3
    late.work.suggest(1, openFirst=True)
    late.open(1, late.other)
    late.client.answer("suggest", late.request(SliceId(late.volume.id, 4)))
    assert late.session.task.slice == SliceId(late.other.id, 1)
    (offer,) = late.work.offers
    assert offer.kind == REQUESTS
    late.work.accept(offer)
    assert late.session.task.slice == SliceId(late.volume.id, 4)


def commit(late, index):
    late.open(index)
    late.draw(1)
    late.session.annotating.commit()


def trained(late, annotated):
    late.client.answer(
        "train", {"curve": [{"annotated": annotated, "unseen": None, "reference": None}], "annotated": annotated}
    )


def test_training_starts_by_itself_after_enough_commits(late):
    """Commits count across rounds, skips do not, and commits during a training count for the next."""
    late.work.automatic = lambda: AutoTrain(3, models=2, steps=7)
    for number in range(2):
        late.request(SliceId(late.volume.id, number))
        late.session.refresh()
        commit(late, number)
    late.open(2)
    late.session.annotating.skip("blurred")
    commit(late, 1)
    assert late.work.untrainedCount == 2
    assert not late.client.of("train")
    commit(late, 3)
    (job,) = late.client.of("train")
    assert (job.options["models"], job.options["steps"]) == (2, 7)
    for index in (4, 5):
        commit(late, index)
    late.session.overlays.wantPrediction(True)
    assert not late.client.of("predict"), "there is no model yet"
    trained(late, 3)
    assert not late.client.of("train")
    late.predicted()
    assert late.session.display.predictionShown
    assert [offer.kind for offer in late.work.offers] == [SUGGEST]
    asked = []
    late.work.suggestionsWanted.connect(lambda: asked.append(1))
    late.work.accept(late.work.offers[0])
    assert asked
    commit(late, 6)
    assert late.client.of("train")


def test_what_is_wanted_of_the_model_follows_to_the_next_volume(late):
    late.open(2)
    late.work.readCurve()
    late.client.answer("curve", {"curve": [{"annotated": 3, "unseen": None, "reference": None}]})
    late.session.overlays.wantPrediction(True)
    late.session.overlays.wantUncertainty(0.4)
    assert len(late.client.of("predict")) == 1
    late.predicted()
    assert late.session.display.predictionShown
    assert late.session.display.uncertaintyShown
    late.open(1, late.other)
    assert not late.session.display.predictionShown
    late.predicted(volume=late.other)
    assert late.session.display.predictionNode.GetName() == f"{late.other.id} prediction"
    late.open(2)
    assert late.session.display.predictionShown, "known results are shown at once"
    late.session.overlays.wantPrediction(False)
    assert not late.session.display.predictionShown
    late.open(1, late.other)
    assert not late.session.display.predictionShown
    assert late.session.display.uncertaintyShown


def test_a_volume_that_cannot_be_predicted_is_asked_for_once(late):
    late.open(2)
    late.work.readCurve()
    late.client.answer("curve", {"curve": [{"annotated": 3, "unseen": None, "reference": None}]})
    late.session.overlays.wantPrediction(True)
    problem = {"volume": late.volume.id, "message": "The image is damaged.", "advice": "", "where": "x.nrrd"}
    late.client.answer("predict", {"reviews": [], "left_out": [problem]})
    assert not late.client.of("predict")
    assert late.work.leftOut == {late.volume.id: "x.nrrd: The image is damaged."}


def test_predictions_lie_under_their_patient(late, tmp_path):
    """Image, annotation, prediction and uncertainty, in the order of the label set, and nothing is left behind."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    before = hierarchy.GetNumberOfItems()
    late.open(2)
    late.session.overlays.setReviews([late.review(), late.review(late.other)])
    late.session.overlays.wantPrediction(True)
    late.session.overlays.wantUncertainty(0.4)
    case, node = late.session.case, late.session.display.predictionNode
    assert [patientOf(found) for found in (case.volumeNode, case.segmentationNode, node)] == [late.volume.patient] * 3
    for found in (case.segmentationNode, node):
        segmentation = found.GetSegmentation()
        names = [segmentation.GetNthSegment(number).GetName() for number in range(segmentation.GetNumberOfSegments())]
        assert names[:2] == ["one", "two"]
        for number in range(segmentation.GetNumberOfSegments()):
            text = vtk.reference("")
            segmentation.GetNthSegment(number).GetTag("TerminologyEntry", text)
            assert len(str(text).split("~")) == 7
    assert node.GetSaveWithScene()
    late.session.refresh()
    late.open(4)
    assert late.session.display.predictionNode is node, "it stays while it is wanted"
    scene = tmp_path / "scene.mrml"
    slicer.mrmlScene.SetURL(str(scene))
    slicer.mrmlScene.Commit(str(scene))
    assert f"{late.volume.id} prediction" in scene.read_text(encoding="utf-8")
    late.open(1, late.other)
    assert patientOf(late.session.display.predictionNode) == late.other.patient
    late.session.closeStudy()
    assert hierarchy.GetNumberOfItems() == before


def test_a_prediction_that_is_asked_for_twice_is_drawn_once(late):
    late.open(2)
    late.work.startFromPrediction()
    late.work.startFromPrediction()
    assert len(late.client.of("predict")) == 1
    assert "predicted already" in late.said[-1]
    late.predicted()
    assert (late.drawn(2)[:5, :7] == 2).all()
    assert not late.work.offers
    assert not late.failed
