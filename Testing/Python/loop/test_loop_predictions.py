"""Predictions as files: the values of the model in the volumes' geometry, with memory for a few slices only."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from ActiveSegmentationLib.cohort import (
    AnnotationKind,
    Geometry,
    StackSettings,
    discover,
    volume_order,
)
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
from ActiveSegmentationLib.common.files import read_json
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.loop import LoopSettings, StudyLoop, predict_study, review_study
from ActiveSegmentationLib.loop.volume_maps import VolumeMap, label_map, write_maps
from ActiveSegmentationLib.segmentation import CleanUp, Predictor, cleaned, predict_volume
from ActiveSegmentationLib.study import LabelSet, Study, label_set_for
from ActiveSegmentationLib.uncertainty import entropy_map


class Thresholds(Predictor):
    """A model without weights: the brighter a pixel, the higher its class."""

    classes = 4
    key = "t" * 40
    capabilities = frozenset()

    def networks(self):
        return []

    def predict(self, inputs):
        centres = torch.linspace(0, 1, self.classes).reshape(1, -1, 1, 1)
        return torch.softmax(-((inputs[:, :1] - centres) ** 2) * 40, 1)

    def features(self, stack, rows, *, flatten=False, compute=None):
        raise NotImplementedError


@pytest.fixture(params=[2, 0], ids=["axial", "sagittal"])
def loop(request, tmp_path, phantom_cohort) -> StudyLoop:
    cohort = discover(phantom_cohort, axis=request.param)
    cohort = cohort.with_volumes(cohort.volumes[:2])
    settings = LoopSettings(stack=StackSettings(spacing=4.5, size=(32, 32)))
    Study.create(tmp_path / "study", cohort, label_set_for(cohort), AnnotationKind.MASK, settings=settings.to_json())
    found = StudyLoop(Study.open(tmp_path / "study"), device="cpu", progress=Progress(), leave_out=True)
    found.require_model = lambda: (0, Thresholds())  # type: ignore[method-assign]
    return found


def read(path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_files_hold_what_the_model_predicts(loop, tmp_path, suffix):
    files = predict_study(loop, tmp_path / "out", probabilities=True, uncertainty=True, suffix=suffix)
    assert len(files) == 6
    for volume in loop.cohort.volumes:
        found = predict_volume(Thresholds(), loop.stack, volume.id)
        labels, probabilities, uncertainty = (
            read(tmp_path / "out" / f"{volume.id}{ending}{suffix}") for ending in ("", "_probabilities", "_uncertainty")
        )
        classes = volume_order(found.labels, volume.axis)
        np.testing.assert_array_equal(labels, loop.study.labels.to_values(classes))
        expected = volume_order(found.probabilities, volume.axis)
        np.testing.assert_array_equal(np.moveaxis(probabilities, -1, 0), expected)
        np.testing.assert_array_equal(uncertainty, entropy_map(expected))
        image = sitk.ReadImage(str(tmp_path / "out" / f"{volume.id}{suffix}"))
        assert image.GetSize() == volume.geometry.size
        np.testing.assert_allclose(image.GetSpacing(), volume.geometry.spacing, rtol=1e-5)


def test_reviews_have_the_mean_of_their_map(loop):
    reviews = review_study(loop)
    assert len(reviews) == 2
    for review in reviews:
        volume = loop.cohort.volume(review.volume)
        found = predict_volume(Thresholds(), loop.stack, volume.id)
        entropy = entropy_map(found.probabilities) / np.log(4)
        np.testing.assert_allclose(read(review.uncertainty), volume_order(entropy, volume.axis), atol=1e-6)
        possible = found.probabilities[0] < 0.99
        assert review.mean_uncertainty == pytest.approx(entropy[possible].mean(), abs=2e-5)
        means = [plane[where].mean() if where.any() else 0 for plane, where in zip(entropy, possible, strict=True)]
        assert review.slice_uncertainties == pytest.approx(means, abs=2e-5)


def test_label_maps_come_from_the_cache_where_they_are_known(loop, tmp_path, monkeypatch):
    review_study(loop)
    predict_study(loop, tmp_path / "one")
    monkeypatch.setattr(Thresholds, "predict", lambda *_: pytest.fail("predicted again"))
    for volume, file in zip(loop.cohort.volumes, predict_study(loop, tmp_path / "two"), strict=True):
        np.testing.assert_array_equal(read(file), read(tmp_path / "one" / f"{volume.id}.nii.gz"))


@pytest.mark.parametrize("cached", [False, True])
def test_label_maps_are_cleaned_up_if_asked_and_say_so(loop, tmp_path, cached):
    if cached:
        review_study(loop)
    clean_up = CleanUp(largest=True, holes="2d")
    files = predict_study(loop, tmp_path / "out", uncertainty=not cached, clean_up=clean_up)
    changed = 0
    for volume in loop.cohort.volumes:
        found = predict_volume(Thresholds(), loop.stack, volume.id).labels
        expected = volume_order(loop.study.labels.to_values(cleaned(found, clean_up)), volume.axis)
        np.testing.assert_array_equal(read(tmp_path / "out" / f"{volume.id}.nii.gz"), expected)
        changed += int((cleaned(found, clean_up) != found).sum())
    assert changed
    record = read_json(tmp_path / "out" / "predictions.json")
    assert record["clean-up"] == {"largest": True, "holes": "2d"}
    assert (record["round"], record["model"]) == (0, Thresholds.key)
    assert record["files"] == sorted(path.name for path in files)


def test_reviews_are_cleaned_up_if_asked(loop):
    clean_up = CleanUp(largest=True, holes="2d")
    plain, clean = review_study(loop), review_study(loop, clean_up=clean_up)
    for before, after in zip(plain, clean, strict=True):
        assert before.labels != after.labels
        volume = loop.cohort.volume(before.volume)
        found = predict_volume(Thresholds(), loop.stack, before.volume).labels
        expected = volume_order(loop.study.labels.to_values(cleaned(found, clean_up)), volume.axis)
        np.testing.assert_array_equal(read(after.labels), expected)
        np.testing.assert_array_equal(read(after.uncertainty), read(before.uncertainty))
        assert before.slice_uncertainties == after.slice_uncertainties
    assert review_study(loop) == plain  # each is kept next to the other


def test_a_volume_that_cannot_be_predicted_leaves_no_file(loop, tmp_path, monkeypatch):
    first, second = loop.cohort.volumes
    broken = Thresholds.planes

    def planes(self, stack, volume_id, predicted):
        if volume_id == first.id:
            raise BadInput("The volume cannot be predicted.", where=volume_id)
        return broken(self, stack, volume_id, predicted)

    monkeypatch.setattr(Thresholds, "planes", planes)
    files = predict_study(loop, tmp_path / "out", uncertainty=True)
    assert sorted(loop.left_out) == [first.id]
    found = {path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".active")}
    assert found == {*files, tmp_path / "out" / "predictions.json"}
    assert all(second.id in path.name for path in files)


def test_a_cancel_takes_effect_within_a_volume(loop, tmp_path):
    reports: list[str] = []

    class Impatient(Progress):
        def show(self, stage, done, total, **values):
            reports.append(values.get("slices", ""))
            if reports[-1]:
                raise Cancelled()

    loop.stack  # noqa: B018 - prepared before
    loop.compute = Compute("cpu", progress=Impatient())
    with pytest.raises(Cancelled):
        predict_study(loop, tmp_path / "out")
    assert reports[-1].endswith(f" of {loop.cohort.volumes[0].slice_count}")
    assert not list((tmp_path / "out").glob("*.nii.gz"))


class LongStack:
    """A volume of 400 slices of 96 x 96 pixels that are made when they are asked for."""

    key, channels, grid_shape, count = "long", 1, (96, 96), 400

    def volume_rows(self, volume_id):
        return np.arange(self.count)

    def from_grid(self, values, volume_id):
        return values

    def batches(self, rows, device="cpu"):
        rows = torch.as_tensor(rows).reshape(-1, 1, 1, 1)
        return ((torch.arange(96.0).reshape(1, 1, 1, -1) + rows) % 50 / 50).expand(-1, 1, 96, 96)


def test_memory_does_not_grow_with_the_number_of_slices(tmp_path, monkeypatch):
    monkeypatch.setattr("ActiveSegmentationLib.cohort.volume_writing.BLOCK", 1 << 20)
    stack = LongStack()
    geometry = Geometry((96, 96, stack.count), (1.0, 1.0, 1.0))
    volume = SimpleNamespace(id="v", geometry=geometry, axis=2, transforms=None)
    maps = [
        label_map(tmp_path / "labels.nii.gz", LabelSet.from_names({1: "a", 2: "b", 3: "c"})),
        VolumeMap(tmp_path / "probabilities.nrrd", np.dtype(np.float32), lambda planes: planes, 4),
        VolumeMap(tmp_path / "uncertainty.mha", np.dtype(np.float32), lambda planes: entropy_map(planes, axis=1)),
    ]
    whole = 4 * 4 * 96 * 96 * stack.count
    tracemalloc.start()
    try:
        write_maps(Thresholds(), stack, volume, maps, compute=Compute())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read(tmp_path / "probabilities.nrrd").shape == (stack.count, 96, 96, 4)
    assert peak < whole / 4
