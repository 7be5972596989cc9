"""Every job in this process: its answers can be sent, and refusals give a reason."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import example_learner
import pytest
from example_learner import NAME

from ActiveSegmentationLib.acquisition import Random, Situation, registry
from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, discover
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.loop import study_settings, study_situation
from ActiveSegmentationLib.segmentation import TRAINING_PRESETS, learner_class
from ActiveSegmentationLib.study import LabelSet, RequestList, Study, label_set_for
from ActiveSegmentationLib.worker.jobs import JOBS, NEEDED
from ActiveSegmentationLib.worker.protocol import decode, encode

from .worker_fakes import ROOT, answer

FOR_STUDY = {
    "suggest": {"count": 2, "strategy": "random"},
    "thumbnails": {"slices": []},
    "train": {},
    "curve": {},
    "predict": {},
    "evaluate": {},
    "export": {"format": "predictions", "out": "out"},
    "slice_map": {},
    "choose_learner": {"learner": "unet"},
}
"""Options of the jobs that need a study."""


def run(name, progress=None, **options):
    """The answer as the other side of the pipe gets it."""
    result = JOBS[name](options, progress or Progress())
    sent = decode(encode({"event": "done", "id": "1", "result": result}), "event")["result"]
    assert sent == json.loads(json.dumps(result))
    return sent


def test_there_are_no_other_jobs():
    assert set(JOBS) == {"describe", "index", "strategies", "learners", *FOR_STUDY}
    assert all(job.__doc__ for job in JOBS.values())


def test_describe():
    answered = run("describe", device="cpu")
    assert answered["missing"] == []
    assert "CPU" in answered["device"]
    assert answered["versions"]["torch"]


def test_describe_an_unknown_device():
    with pytest.raises(BadInput):
        run("describe", device="abacus")


def test_strategies():
    names = [strategy["name"] for strategy in run("strategies")["strategies"]]
    assert "random" in names
    assert "balanced-random" in names
    assert all(strategy["summary"] for strategy in run("strategies")["strategies"])


class NeedsMembers(Random):
    """A strategy for tests: random, but it needs several models."""

    name = "needs-members"
    needs = frozenset({"members"})


def reasons_of(**options):
    return {info["name"]: info["hindrance"] for info in run("strategies", **options)["strategies"]}


def test_a_study_decides_which_strategies_are_unavailable(study, monkeypatch):
    """The study's settings determine the models to be trained; once there is a model, it does."""
    monkeypatch.setitem(registry.BUILT_IN, NeedsMembers.name, NeedsMembers)
    here = {"study": str(study.folder), "device": "cpu"}
    assert not any(reasons_of().values())
    reasons = reasons_of(study=str(study.folder))
    assert reasons["needs-members"].startswith("Needs two or more ensemble members")
    assert not reasons["random"]
    assert study_situation(study) == Situation(members=1, dropout=True)
    run("suggest", count=2, strategy="random", **here)
    answer(study)
    run("train", models=2, steps=1, **here)
    assert not reasons_of(study=str(study.folder))["needs-members"]
    assert study_situation(study) == Situation(members=2, dropout=True)
    with pytest.raises(BadInput):
        run("strategies", study=str(study.folder / "nowhere"))


def test_the_learner_of_a_study_is_chosen_and_stored(study, monkeypatch):
    example_learner.add(monkeypatch)
    here = {"study": str(study.folder)}
    assert (run("learners")["chosen"], run("learners")["trained"]) == (None, None)
    answered = run("learners", **here)
    known = {info["name"]: info for info in answered["learners"]}
    length = {name: getattr(study_settings(study).training, name) for name in ("minutes", "epochs", "steps")}
    assert answered["chosen"] == {"name": "unet", "options": {}, **length}
    assert known["nnunet-2d"]["exports"] == ["nnunet", "safetensors"]
    assert known[NAME]["options"]["width"]["default"] == 16
    assert "finest level" in known[NAME]["options"]["width"]["meaning"]
    length = {"minutes": 0.0, "epochs": 0.0, "steps": TRAINING_PRESETS["default"].steps}
    chosen = {"name": NAME, "options": {"width": 4, "dropout": 0.0}, **length}
    assert run("choose_learner", learner=NAME, options={"width": "4", "dropout": "0"}, **here)["chosen"] == chosen
    assert run("learners", **here)["chosen"] == chosen
    reasons = reasons_of(**here)
    assert "which this learner cannot" in reasons["learning-loss"]
    assert reasons["bald"].startswith("Needs models with dropout")
    assert not reasons["badge"]
    with pytest.raises(BadInput, match="'width' must be at least 1"):
        run("choose_learner", learner=NAME, options={"width": "0"}, **here)
    assert run("choose_learner", learner=NAME, **here)["chosen"]["options"] == {}
    assert study.audit.verify() == []


def test_a_learner_that_needs_masks_is_not_for_a_study_of_scribbles(phantom_cohort, tmp_path, monkeypatch):
    example_learner.add(monkeypatch)
    monkeypatch.setattr(learner_class(NAME), "needs_masks", True)
    cohort = discover(phantom_cohort)
    made = Study.create(tmp_path / "study", cohort, label_set_for(cohort), AnnotationKind.SCRIBBLE)
    known = {info["name"]: info["unavailable_reason"] for info in run("learners", study=str(made.folder))["learners"]}
    assert (known["unet"], known[NAME][:31]) == ("", "It cannot learn from scribbles,")
    with pytest.raises(BadInput, match="cannot learn from scribbles"):
        run("choose_learner", learner=NAME, study=str(made.folder))


def test_index(phantom_cohort):
    answered = run("index", path=str(phantom_cohort))
    cohort = Cohort.from_json(answered["cohort"], Path(answered["root"]))
    assert len(cohort.volumes) == 8
    assert len(LabelSet.from_json(answered["labels"]).values) == 3


def test_index_images_without_labels(phantom_cohort, tmp_path):
    for number in (1, 2):
        (image,) = (phantom_cohort / f"patient00{number}").glob("*_frame01.nii.gz")
        (tmp_path / image.name).write_bytes(image.read_bytes())
    answered = run("index", path=str(tmp_path))
    assert len(answered["cohort"]["volumes"]) == 2
    assert answered["labels"] is None


@pytest.mark.parametrize("name", ["nowhere", "with \udcff"])
def test_index_what_is_not_there(tmp_path, name):
    with pytest.raises(BadInput):
        run("index", path=str(tmp_path / name))


@pytest.mark.parametrize("name", FOR_STUDY)
@pytest.mark.parametrize("folder", [None, "", "nowhere"])
def test_a_job_on_no_study_is_bad_input(name, folder, tmp_path):
    options = {} if folder is None else {"study": folder and str(tmp_path / folder)}
    with pytest.raises(BadInput) as caught:
        run(name, **FOR_STUDY[name], **options)
    assert caught.value.advice


@pytest.mark.parametrize("name", ["train", "predict", "evaluate", "export"])
def test_a_job_that_comes_too_early_is_bad_input(name, study, tmp_path):
    options = {**FOR_STUDY[name], "out": str(tmp_path / "out")}
    with pytest.raises(BadInput) as caught:
        run(name, study=str(study.folder), device="cpu", **options)
    assert caught.value.advice


def test_two_rounds(study, tmp_path):
    here = {"study": str(study.folder), "device": "cpu"}
    assert run("curve", **here) == {"curve": []}
    for number in (1, 2):
        constraints = {"max_per_volume": 1} if number == 1 else {}
        asked = run("suggest", count=3, strategy="random", seed=number, **here, constraints=constraints)
        requests = RequestList.from_json(asked["requests"])
        assert requests == study.requests.read(number)
        assert len(asked["thumbnails"]) == len(requests.requests) == 3
        slices = [[request.slice.volume, request.slice.index] for request in requests.requests]
        assert run("thumbnails", slices=slices, **here) == {"thumbnails": asked["thumbnails"]}
        assert all(Path(name).is_file() for name in asked["thumbnails"])
        answer(study)
        trained = run("train", models=1, steps=3, **here)
        assert (trained["round"], trained["annotated"]) == (number, 3 * number)
        assert trained["curve"] == run("curve", **here)["curve"]
        assert len(trained["curve"]) == number
    reviews = run("predict", **here)["reviews"]
    assert len(reviews) == len(study.cohort.volumes)
    assert [review["volume"] for review in run("predict", volumes=[reviews[2]["volume"]], **here)["reviews"]] == [
        reviews[2]["volume"]
    ]
    scores = run("evaluate", **here)["scores"]
    assert {"volume", "class", "metric", "value"} == set(scores[0])
    placed = run("slice_map", method="pca", **here)
    assert len(placed["places"]) == len(placed["slices"]) == len(placed["volumes"]) == 8 * 5
    for name in ("predictions", "nifti"):
        files = run("export", format=name, out=str(tmp_path / name), **here)["files"]
        assert files
        assert all(Path(file).exists() for file in files)
    assert study.audit.verify() == []


def test_an_unknown_format_and_strategy_are_bad_input(study, tmp_path):
    here = {"study": str(study.folder), "device": "cpu"}
    with pytest.raises(BadInput):
        run("export", format="papyrus", out=str(tmp_path), **here)
    with pytest.raises(BadInput):
        run("suggest", count=2, strategy="guess", **here)
    with pytest.raises(BadInput):
        run("suggest", count=0, strategy="random", **here)


@pytest.mark.parametrize("name", ["suggest", "train", "predict", "slice_map", "export"])
def test_a_cancelled_job_lets_go_of_the_study(study, name, tmp_path):
    here = {"study": str(study.folder), "device": "cpu"}
    run("suggest", count=2, strategy="random", **here)
    answer(study)
    if name in ("predict", "export"):
        run("train", steps=3, **here)
    options = {**FOR_STUDY[name], **({"out": str(tmp_path / "out")} if name == "export" else {})}
    if name == "suggest":
        options["strategy"] = "group-contrastive-coreset"
    study.clear_cache()
    with pytest.raises(Cancelled):
        run(name, Progress(lambda: True), **options, **here)
    with Study.open(study.folder).lock():
        pass
    run(name, **options, **here)


def test_a_study_that_another_process_computes_on_is_bad_input(study):
    script = "import sys; from ActiveSegmentationLib.study import Study\nwith Study.open(sys.argv[1]).lock(): "
    script += "print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", script, str(study.folder)], cwd=ROOT, **pipes) as other:
        other.stdout.readline()
        with pytest.raises(BadInput) as caught:
            run("curve", study=str(study.folder), device="cpu")
        assert str(other.pid) in str(caught.value)
        other.stdin.close()
    assert run("curve", study=str(study.folder), device="cpu") == {"curve": []}


BLOCK = """
import sys
for name in sys.argv[2].split(","):
    sys.modules[name] = None
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.worker.jobs import JOBS
print(JOBS["describe"]({}, Progress())["missing"])
print(len(JOBS["index"]({"path": sys.argv[1]}, Progress())["cohort"]["volumes"]))
"""


def test_looking_at_images_works_before_torch_is_installed(phantom_cohort):
    """Slicer itself ships SimpleITK and NumPy; the module installs nibabel and filelock with consent first."""
    absent = [name for name in NEEDED if name not in ("SimpleITK", "nibabel", "filelock")]
    command = [sys.executable, "-c", BLOCK, str(phantom_cohort), ",".join(absent)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [str(absent), "8"], done.stderr
