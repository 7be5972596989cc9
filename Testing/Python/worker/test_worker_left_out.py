"""One bad file never stops the others: every job continues with the rest, and reports what it left out and why."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import pytest

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.study import Study
from ActiveSegmentationLib.worker.jobs import JOBS

from .worker_fakes import answer, make_study


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(gzip.compress(b"no image at all" * 99))


def missing(path):
    path.unlink()


def otherSize(path):  # noqa: N802
    import SimpleITK

    image = SimpleITK.ReadImage(str(path))
    SimpleITK.WriteImage(image[:-2], str(path))


def notFinite(path):  # noqa: N802
    import numpy as np
    import SimpleITK

    image = SimpleITK.Cast(SimpleITK.ReadImage(str(path)), SimpleITK.sitkFloat32)
    array = SimpleITK.GetArrayFromImage(image)
    array[1, 3, 4] = np.nan
    broken = SimpleITK.GetImageFromArray(array)
    broken.CopyInformation(image)
    SimpleITK.WriteImage(broken, str(path))


class Worked:
    """A study on its own cohort, and the worker's jobs on it."""

    def __init__(self, cohort, folder):
        self.root = shutil.copytree(cohort, folder / "cohort")
        self.study = make_study(folder / "study", self.root)
        self.folder = folder

    def path(self, number):
        cohort = self.study.cohort
        return cohort.path(cohort.volumes[number].channels[0].paths[0])

    def name(self, number):
        return self.study.cohort.volumes[number].id

    def run(self, name, **options):
        return JOBS[name]({"study": str(self.study.folder), "device": "cpu", **options}, Progress())


@pytest.fixture
def worked(phantom_cohort, tmp_path):
    return Worked(phantom_cohort, tmp_path)


def left_out(answered):
    return {found["volume"] for found in answered["left_out"]}


@pytest.mark.parametrize("spoil", [truncated, garbage, missing, otherSize, notFinite])
def test_suggest_goes_on_without_a_bad_volume(worked, spoil):
    spoil(worked.path(0))
    answered = worked.run("suggest", count=14, strategy="balanced-random")
    (problem,) = answered["left_out"]
    assert problem["volume"] == worked.name(0)
    assert problem["message"]
    assert os.path.basename(worked.path(0)) in problem["where"] + problem["message"]
    asked = {request["volume"] for request in answered["requests"]["requests"]}
    assert asked == {volume.id for volume in worked.study.cohort.volumes[1:]}


def test_the_whole_loop_goes_on(worked):
    truncated(worked.path(2))
    assert left_out(worked.run("suggest", count=14, strategy="random")) == {worked.name(2)}
    worked.study.exclude(worked.name(2), "for the oracle, which reads all")
    answer(Study.open(worked.study.folder))
    worked.study.include(worked.name(2))
    committed = next(iter(worked.study.annotations())).volume
    number = [volume.id for volume in worked.study.cohort.volumes].index(committed)
    kept = worked.path(number).read_bytes()
    garbage(worked.path(number))  # changed since it was used
    bad = {worked.name(2), committed}
    trained = worked.run("train")
    assert left_out(trained) == bad
    assert 0 < trained["annotated"] < len(worked.study.annotations())
    predicted = worked.run("predict")
    assert left_out(predicted) == bad
    assert {review["volume"] for review in predicted["reviews"]} == {
        volume.id for volume in worked.study.cohort.volumes if volume.id not in bad
    }
    assert worked.run("predict", volumes=[worked.name(2)])["reviews"] == []
    exported = worked.run("export", format="predictions", out=str(worked.folder / "out"))
    assert left_out(exported) == bad
    assert len(exported["files"]) == len(worked.study.cohort.volumes) - 2
    worked.path(number).write_bytes(kept)
    assert left_out(worked.run("predict")) == {worked.name(2)}


def test_a_cohort_of_bad_files_says_why(worked):
    for number in range(len(worked.study.cohort.volumes)):
        garbage(worked.path(number))
    with pytest.raises(BadInput, match="No volume can be used"):
        worked.run("suggest", count=2, strategy="random")


def test_an_export_takes_the_predictions_that_exist(worked, monkeypatch):
    from ActiveSegmentationLib.cohort import read_label_map
    from ActiveSegmentationLib.loop import volume_maps

    worked.run("suggest", count=4, strategy="random")
    answer(worked.study)
    worked.run("train")
    reviews = {review["volume"]: review for review in worked.run("predict")["reviews"]}
    again = worked.study.cohort.volumes[0]
    damaged = reviews[again.id]["labels"].replace(".labels.nrrd", ".json")
    with open(damaged, "w", encoding="utf-8") as file:
        file.write("{")
    predicted = []
    original = volume_maps.predict_planes

    def predict(model, stack, volume, **options):
        predicted.append(volume)
        return original(model, stack, volume, **options)

    monkeypatch.setattr(volume_maps, "predict_planes", predict)
    files = worked.run("export", format="predictions", out=str(worked.folder / "out"))["files"]
    assert predicted == [again.id]
    assert len(files) == len(reviews)
    for volume in worked.study.cohort.volumes:
        (found,) = [path for path in files if os.path.basename(path) == f"{volume.id}.nii.gz"]
        labels = read_label_map(Path(found), volume.geometry)
        assert (labels == read_label_map(Path(reviews[volume.id]["labels"]), volume.geometry)).all()
