"""Strategies in a study: whole volumes, heads that predict the loss, what is asked again, what cannot be used."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from ActiveSegmentationLib.cohort import AnnotationKind, StackSettings, discover
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.experiment import OracleAnnotator
from ActiveSegmentationLib.loop import LoopSettings, StudyLoop
from ActiveSegmentationLib.study import Study, label_set_for


@pytest.fixture
def loop(tmp_path, phantom_cohort):
    root = tmp_path / "cohort"
    shutil.copytree(phantom_cohort, root)
    settings = LoopSettings(stack=StackSettings(spacing=4.5, size=(32, 32)))
    training = replace(settings.training, steps=2, batch_size=2, features=(8, 8, 8, 8, 8))
    cohort = discover(root)
    labels = label_set_for(cohort, None)
    settings = replace(settings, training=training)
    study = Study.create(tmp_path / "study", cohort, labels, AnnotationKind.MASK, settings=settings.to_json())
    return StudyLoop(study, device="cpu")


def answer(loop):
    number = max(loop.study.requests.rounds())
    oracle = OracleAnnotator(loop.stack, AnnotationKind.MASK)
    loop.study.commit(oracle.annotate([r.slice for r in loop.study.open_requests(number)], number))


def test_whole_volumes_are_asked_for_and_asked_again(loop):
    asked = loop.suggest(2, "random", unit="volume")
    volumes = {request.slice.volume for request in asked.requests}
    assert len(volumes) == 2
    for volume in volumes:
        rows = loop.stack.volume_rows(volume)
        assert len([r for r in asked.requests if r.slice.volume == volume]) == int((~loop.stack.blank[rows]).sum())
    assert loop.suggest(2, "random", unit="volume").round == 1
    assert loop.suggest(2, "random").round == 2


def test_a_head_is_trained_once_a_request_needs_it(loop):
    loop.suggest(3, "recommended")
    answer(loop)
    _, model = loop.train()
    assert not model.members[0].settings.loss_head
    asked = loop.suggest(3, "learning-loss")
    assert all("has no head" in request.reason for request in asked.requests)
    answer(loop)
    _, model = loop.train()
    assert model.members[0].settings.loss_head
    asked = loop.suggest(3, "power:learning-loss/rank=yes")
    assert not any("has no head" in request.reason for request in asked.requests)


def test_training_does_not_need_the_strategy_that_asked(loop, monkeypatch):
    from ActiveSegmentationLib.acquisition import registry

    loop.suggest(3, "strided")
    answer(loop)
    monkeypatch.delitem(registry.BUILT_IN, "strided")
    loop.train()


def test_a_question_that_is_open_is_repeated_until_its_marks_are_taken_back(loop):
    volume = loop.cohort.volumes[0]
    loop.study.extents.mark(volume.id, 1, 2)
    first = loop.suggest(2, "foreground-random:marked")
    assert loop.suggest(2, "foreground-random:marked").round == first.round
    loop.study.extents.clear(volume.id)
    with pytest.raises(BadInput, match="marked"):
        loop.suggest(2, "foreground-random:marked")


def test_marks_are_another_question_for_those_who_look_at_them(loop):
    asked = {name: loop.suggest(3, name).round for name in ("random", "recommended")}
    assert asked == {"random": 1, "recommended": 2}
    volume = loop.cohort.volumes[0]
    loop.study.extents.mark(volume.id, 0, 1)
    again = loop.suggest(3, "recommended")
    assert again.round == 3
    assert again.parameters["extents"] == {volume.id: [0, 1]}
    assert loop.suggest(3, "recommended").round == 3
    assert loop.suggest(3, "random").round == 4
    loop.study.extents.mark(volume.id, 1, 2)
    assert loop.suggest(3, "random").round == 4


@pytest.mark.parametrize("name", ["variance-ratio", "stochastic-batches:ensemble-entropy", "foreground-random:oracle"])
def test_what_the_study_cannot_use_is_refused_and_nothing_is_stored(loop, name):
    with pytest.raises(BadInput, match="cannot be used here"):
        loop.suggest(2, name)
    assert loop.study.requests.rounds() == []


def test_extents_the_wrong_way_round_are_refused(loop):
    with pytest.raises(BadInput, match="Slice 4 comes after slice 2"):
        loop.study.extents.mark(loop.cohort.volumes[0].id, 3, 1)
    assert Study.open(loop.study.folder).extents.all() == {}
