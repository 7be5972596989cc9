"""The benchmark inside Slicer: it draws every annotation, and its numbers and exit codes are the command line's."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
import slicer
from smallest_protocol import SMALLEST

from ActiveSegmentationLib.cohort import AnnotationKind, SliceId, discover, write_phantom
from ActiveSegmentationLib.common.errors import JobFailed
from ActiveSegmentationLib.scene import Brush, sceneAnnotator
from ActiveSegmentationLib.scene.sceneAnnotator import SceneAnnotator
from ActiveSegmentationLib.study import LabelSet, SliceAnnotation

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = ROOT / "scripts" / "slicer_benchmark.py"
PLAIN = ("-m", "ActiveSegmentationLib", "benchmark")
TINY = ["--size", "48x48", "--metric-steps", "3", "--steps", "4", "--batch-size", "4"]
LABELS = LabelSet.from_names({1: "RV", 2: "MYO", 3: "LV"})
KINDS = tuple(AnnotationKind)


def ownNodes():
    """Ids of the scene's nodes without the pictures of the slice views, which Slicer adds when a view first draws."""
    scene = slicer.mrmlScene
    nodes = [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
    ofViews = ("vtkMRMLModelNode", "vtkMRMLSliceDisplayNode", "vtkMRMLLinearTransformNode")
    return {node.GetID() for node in nodes if node.GetClassName() not in ofViews}


def call(*words):
    """A command of this Python in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, *(str(word) for word in words)]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, encoding="utf-8", errors="replace", check=False
    )


@pytest.fixture(scope="module")
def hearts(tmp_path_factory):
    """Three patients in ACDC's layout; one has no scribbles of its own, which are drawn from its mask then."""
    folder = write_phantom(tmp_path_factory.mktemp("phantom") / "acdc", patients=3, phases=("ED",), size=(48, 48))
    next(folder.glob("patient001/*_scribble.nii.gz")).unlink()
    return folder


@pytest.fixture(scope="module")
def partial(hearts):
    """The same patients in nnU-Net's layout; the masks of two leave a corner of every slice unlabelled."""
    folder = hearts.parent / "nnunet"
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for path in sorted(hearts.glob("*/*_gt.nii.gz")):
        name = path.parent.name
        image = SimpleITK.ReadImage(str(path).replace("_gt", ""))
        SimpleITK.WriteImage(image, str(folder / "imagesTr" / f"{name}_0000.nii.gz"))
        array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
        array[:, :25, :25] = 4 if name != "patient003" else array[:, :25, :25]
        mask = SimpleITK.GetImageFromArray(array)
        mask.CopyInformation(image)
        SimpleITK.WriteImage(mask, str(folder / "labelsTr" / f"{name}.nii.gz"))
    labels = {"background": 0, "RV": 1, "MYO": 2, "LV": 3, "ignore": 4}
    about = {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 3, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about))
    return folder


def options(cohort, out, kind="mask", strategies="random,coreset", seeds="0,1", rounds="6,12"):
    split = cohort.parent / "split.json"
    split.write_text(json.dumps({"train": ["patient001", "patient002"], "test": ["patient003"]}))
    about = ["--cohort", cohort, "--split", split, "--out", out, "--annotation", kind]
    return [*about, "--strategies", strategies, "--seeds", seeds, "--rounds", rounds, *TINY]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_requests_and_results_are_those_of_the_plain_command(hearts, partial, tmp_path, kind):
    cohort = partial if kind == AnnotationKind.MASK else hearts
    for name, command in (("drawn", [SCRIPT]), ("plain", PLAIN)):
        done = call(*command, *options(cohort, tmp_path / name, kind))
        assert done.returncode == 0, done.stderr
        assert f"Report: {tmp_path / name / 'report.html'}" in done.stdout
    for name, fewest in (("requests.csv", 2 * 2 * 12), ("results.csv", 2 * 2 * 2 * 3)):
        rows, expected = ((tmp_path / part / name).read_text().splitlines() for part in ("drawn", "plain"))
        assert len(rows) > fewest
        assert rows == expected
    for path in (tmp_path / "plain" / "runs").rglob("round-*.json"):
        expected = json.loads(path.read_text())
        record = json.loads((tmp_path / "drawn" / path.relative_to(tmp_path / "plain")).read_text())
        assert expected.pop("seconds").keys() == record.pop("seconds").keys()
        assert record == expected  # the trained models too, by their key


PROTOCOL = (
    """
title = "In Slicer"

[experiment]
strategies = ["random", "strided"]
rounds = [2, 4]"""
    + SMALLEST
    + """

[experiment.splits]
kind = "holdout"
count = 2
used = 1
test = 0.34

[arms.scribbles]
annotation = "scribble"
"""
)


@pytest.mark.slow
def test_an_experiment_gives_the_table_of_the_plain_command(hearts, tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(PROTOCOL, encoding="utf-8")
    for name, command in (("drawn", [SCRIPT]), ("plain", PLAIN[:-1])):
        words = ["experiment", "run", path, "--cohort", hearts, "--scale", "paper", "--device", "cpu"]
        done = call(*command, *words, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    for name in ("requests.csv", "results.csv"):
        drawn, plain = ((tmp_path / part / name).read_text() for part in ("drawn", "plain"))
        assert drawn == plain
        assert len(plain.splitlines()) > 8
    refused = call(SCRIPT, *words, "--out", tmp_path / "many", "--scheduler", "tcp://127.0.0.1:9")
    assert refused.returncode == 2
    assert "cannot draw into one scene" in refused.stderr


def inApplication(monkeypatch, *words):
    """Run the script where there is ``slicer.app``; the exit codes it asked for."""
    codes = []
    monkeypatch.setattr(slicer.util, "exit", codes.append)
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *(str(word) for word in words)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return codes


def test_in_the_application_it_draws_in_the_scene_that_is_there(host, partial, tmp_path, monkeypatch, capsys):
    strokes = []
    paint = Brush.paint

    def counted(brush, segment, axis, index, mask):
        strokes.append(segment)
        paint(brush, segment, axis, index, mask)

    monkeypatch.setattr(Brush, "paint", counted)
    scene, before = slicer.mrmlScene, ownNodes()
    given = options(partial, tmp_path / "out", strategies="random", seeds="0", rounds="12")
    assert inApplication(monkeypatch, "--", *given, "--json") == [0]
    assert {"Segment_1", "Segment_2", "Segment_3", "Undecided"} <= set(strokes)
    assert slicer.mrmlScene is scene
    assert ownNodes() == before
    assert json.loads(capsys.readouterr().out)["report"] == str(tmp_path / "out" / "report.html")


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--cohort", "nowhere", "--strategies", "random", "--rounds", "2", "--out", "out"], 2, "bad input: "),
        (["--cohort", "c", "--strategies", "psychic", "--rounds", "2", "--out", "out"], 2, "called 'psychic'"),
        (
            ["--cohort", "c", "--strategies", "random", "--rounds", "2", "--out", "o", "--workers", "2"],
            2,
            "--workers 1",
        ),
        (["--strategies", "random"], 2, "Usage: slicer_benchmark.py"),
        (["--help"], 0, ""),
    ],
)
def test_every_way_out_is_an_exit_code_of_the_application(host, monkeypatch, capsys, words, code, text):
    assert inApplication(monkeypatch, *words) == [code]
    assert text in capsys.readouterr().err


def test_an_unexpected_error_ends_the_application_too(host, hearts, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(slicer, "vtkSlicerSegmentEditorLogic", None)
    assert inApplication(monkeypatch, *options(hearts, tmp_path / "out", strategies="random", seeds="0")) == [1]
    assert "Traceback" in capsys.readouterr().err


def test_without_the_application_bad_input_ends_the_process_with_2():
    done = call(SCRIPT, "--cohort", "nowhere", "--strategies", "random", "--rounds", "2", "--out", "out")
    assert done.returncode == 2
    assert done.stderr.startswith("bad input: ")
    assert not done.stdout


def test_help_names_every_option_of_the_plain_command(host, monkeypatch, capsys):
    from ActiveSegmentationLib.cli.main import main

    assert inApplication(monkeypatch, "--help") == [0]
    drawn = capsys.readouterr().out
    assert main(["benchmark", "--help"]) == 0
    plain = capsys.readouterr().out
    flags = [
        {word.strip(",[]") for word in text.split() if word.strip("[").startswith("--")} for text in (drawn, plain)
    ]
    assert flags[0] == flags[1]
    assert "--workers must be 1" in " ".join(drawn.split())


class Oracle:
    """Answers with planes that were made up before."""

    def __init__(self, planes, kind):
        self.planes, self.kind = planes, kind

    def annotate(self, slices, round_number):
        return [SliceAnnotation(s, self.planes[s], self.kind, "oracle", round_number, 0.0, "now") for s in slices]


def madeUp(cohort, kind):
    """Planes of every sort, the slices of two volumes in turns: noise, one value only, nothing drawn."""
    random = np.random.default_rng(1)
    planes = {}
    for index in range(6):
        for volume in cohort.volumes[:2]:
            shape = volume.plane_shape
            noise = random.choice(np.array([0, 1, 2, 3, 255], np.uint8), size=shape)
            nothing = np.full(shape, 0 if kind == AnnotationKind.MASK else 255, np.uint8)
            sorts = (noise, nothing, np.full(shape, 2, np.uint8), np.full(shape, 255 - nothing[0, 0], np.uint8))
            planes[SliceId(volume.id, index)] = sorts[(index + len(planes)) % 4]
    return planes


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_what_is_drawn_is_what_comes_back(host, hearts, axis, kind):
    found = discover(hearts, axis=axis)
    planes = madeUp(found, kind)
    most = []

    def count(scene, _):
        most.append(scene.GetNumberOfNodesByClass("vtkMRMLVolumeNode"))

    scene, before = slicer.mrmlScene, ownNodes()
    tag = scene.AddObserver(scene.NodeAddedEvent, count)
    try:
        answers = SceneAnnotator(Oracle(planes, kind), found, LABELS).annotate(list(planes), 3)
    finally:
        scene.RemoveObserver(tag)
    assert [answer.slice for answer in answers] == list(planes)
    for answer in answers:
        assert np.array_equal(answer.labels, planes[answer.slice])
        assert answer.labels is not planes[answer.slice]
        assert (answer.kind, answer.round, answer.annotator, answer.labels.dtype) == (kind, 3, "oracle", np.uint8)
    assert max(most) == 1
    assert ownNodes() == before


def test_captured_pixels_that_differ_are_reported_and_the_scene_left_clean(host, hearts, monkeypatch):
    found = discover(hearts)
    planes = madeUp(found, AnnotationKind.MASK)
    monkeypatch.setattr(sceneAnnotator, "capturePlane", lambda *_: np.zeros((48, 48), np.uint8))
    before = ownNodes()
    with pytest.raises(JobFailed, match="differ from what was drawn"):
        SceneAnnotator(Oracle(planes, AnnotationKind.MASK), found, LABELS).annotate(list(planes), 1)
    assert ownNodes() == before
