"""The content of images is part of a study: a change on disk is reported, never accepted silently."""

from __future__ import annotations

import json

import pytest

from ActiveSegmentationLib.cohort import image_hashes
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.study import Study


@pytest.fixture
def study(make_study):
    return make_study(volumes=3)


def hashes_of(study: Study) -> dict[str, dict[str, str]]:
    return image_hashes(study.cohort, study.cache_folder / "stacks" / "hashes.json")


def change(study: Study, volume: str) -> None:
    study.cohort.path(study.cohort.volume(volume).channels[0].paths[0]).write_bytes(volume.encode())


def test_unchanged_images_pass_and_are_recorded_once(study):
    study.images.check(hashes_of(study))
    study.images.record(hashes_of(study))
    study.images.record(hashes_of(study))
    study.images.check(hashes_of(Study.open(study.folder)))
    content = json.loads((study.folder / "cohort.json").read_text())["content"]
    assert content == hashes_of(study)
    assert [record["event"] for record in study.audit.records()] == ["created", "images"]
    assert study.audit.verify() == []
    assert Study.open(study.folder).cohort == study.cohort


def test_a_changed_image_is_refused_by_volume_and_file_until_it_is_accepted(study):
    study.images.record(hashes_of(study))
    change(study, "v001")
    with pytest.raises(BadInput, match=r"v001: v001\.nii\.gz") as caught:
        study.images.check(hashes_of(study))
    assert "v000" not in str(caught.value)
    assert "exclude" in caught.value.advice
    study.images.record(hashes_of(study))  # what is known is never replaced by the way
    assert study.images.changed(hashes_of(study)) == {"v001": ["v001.nii.gz"]}
    study.images.accept(["v001"])
    study.images.record(hashes_of(study))
    study.images.check(hashes_of(study))
    change(study, "v000")
    with pytest.raises(BadInput, match="v000"):
        study.images.check(hashes_of(study))
    events = [(record["event"], record.get("volumes")) for record in study.audit.records()[1:]]
    assert events == [("images", ["v000", "v001", "v002"]), ("images-accepted", ["v001"]), ("images", ["v001"])]


def test_an_unknown_volume_cannot_be_accepted(study):
    with pytest.raises(BadInput, match="nowhere"):
        study.images.accept(["nowhere"])


def test_a_file_that_cannot_be_read_is_left_to_those_who_read_it(study):
    study.images.record(hashes_of(study))
    study.cohort.path("v001.nii.gz").unlink()
    assert sorted(hashes_of(study)) == ["v000", "v002"]
    study.images.check(hashes_of(study))


def test_a_damaged_record_is_refused(study):
    path = study.folder / "cohort.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"content": {"v000": "x"}}))
    with pytest.raises(BadInput, match="damaged"):
        study.images.check(hashes_of(study))
