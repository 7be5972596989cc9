"""The public functions: a dozen names, imported when used, whose examples run in one folder as they are printed."""

from __future__ import annotations

import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ActiveSegmentationLib
from ActiveSegmentationLib.cohort import SliceId
from ActiveSegmentationLib.common.errors import BadInput

ROOT = Path(__file__).parents[3]

STORY = ["write_phantom", "discover", "create_strategy", "create_study", "suggest", "annotate", "Study"]
STORY += ["choose_learner", "train", "predict", "evaluate", "export", "export_model", "benchmark"]
"""The public names, in an order in which their examples can run in one folder."""


def test_the_names_are_those_of_the_story():
    assert sorted(STORY) == ActiveSegmentationLib.__all__
    assert dir(ActiveSegmentationLib) == ActiveSegmentationLib.__all__


def test_importing_the_package_imports_no_library():
    code = "import sys, ActiveSegmentationLib; print([name for name in ('numpy', 'torch') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_examples_run_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {name: getattr(ActiveSegmentationLib, name) for name in ActiveSegmentationLib.__all__}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for name in STORY:
        text = inspect.getdoc(names[name])
        assert "Example:" in text, name
        example = doctest.DocTestParser().get_doctest(text, dict(names), name, None, None)
        assert example.examples, name
        result = runner.run(example)
        assert result.failed == 0, f"{name}: {capsys.readouterr().out}"


@pytest.fixture(scope="module")
def study(tmp_path_factory, phantom_cohort):
    folder = tmp_path_factory.mktemp("api") / "study"
    return ActiveSegmentationLib.create_study(folder, ActiveSegmentationLib.discover(phantom_cohort))


def test_arrays_are_committed_for_the_round_that_asked(study):
    (request,) = ActiveSegmentationLib.suggest(study, 1, "random", device="cpu")
    volume = next(volume for volume in study.cohort.volumes if volume.id == request.slice.volume)
    plane = np.zeros(volume.plane_shape, np.uint8)
    plane[3:9, 4:8] = 2
    other = SliceId(volume.id, (request.slice.index + 1) % volume.slice_count)
    counts = ActiveSegmentationLib.annotate(study, {request.slice: plane, other: plane}, annotator="me")
    assert counts[volume.id].new == 2
    found = study.annotations()
    assert np.array_equal(found[request.slice].labels, plane)
    assert (found[request.slice].round, found[other].round, found[other].annotator) == (1, None, "me")


def test_where_annotations_come_from_must_be_clear(study):
    for given in ({}, {"labels": "folder", "oracle": True}):
        with pytest.raises(BadInput, match="not clear where the annotations come from"):
            ActiveSegmentationLib.annotate(study, **given)
