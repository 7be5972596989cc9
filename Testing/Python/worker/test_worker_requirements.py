"""The worker's jobs need only the packages that the module installs in Slicer: they run with all others blocked."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import pytest

from .worker_fakes import ROOT

IMPORT_NAMES = {"scikit-image": "skimage", "scikit-learn": "sklearn", "pillow": "PIL"}
"""Names under which distributions are imported, where they differ."""

NOT_INSTALLED = ("distributed", "skimage", "jinja2", "matplotlib", "tqdm")
"""Modules that the module does not install."""

RUN = f"""
import json, sys
from pathlib import Path

for name in {NOT_INSTALLED!r}:
    sys.modules[name] = None

from ActiveSegmentationLib.cohort import read_labels, slices_first
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.study import SliceAnnotation, Study
from ActiveSegmentationLib.worker.jobs import JOBS

cohort, folder = sys.argv[1], Path(sys.argv[2])
here = {{"study": str(folder), "device": "cpu"}}
ran = []


def run(name, **options):
    ran.append(name)
    return JOBS[name]({{**here, **options}}, Progress())


assert run("describe")["missing"] == []
assert run("index", path=cohort, pictures=str(folder / "pictures"))["labels"]
assert run("strategies")["strategies"]
assert run("learners")["chosen"] == run("choose_learner", learner="unet")["chosen"]
found = run("suggest", count=3, strategy="recommended")
study = Study.open(folder)
slices = [request.slice for request in study.requests.read(1).requests]
assert len(slices) == len(found["thumbnails"]) == 3
assert run("thumbnails", slices=[[s.volume, s.index] for s in slices])["thumbnails"] == found["thumbnails"]
for s in slices:
    volume = study.cohort.volume(s.volume)
    plane = slices_first(read_labels(study.cohort, volume, study.annotation), volume.axis)[s.index]
    study.commit([SliceAnnotation(s, plane, study.annotation, "A", 1, 1.0, "")])
assert run("train")["annotated"] == 3
assert run("curve")["curve"]
assert len(run("predict")["reviews"]) == len(study.cohort.volumes)
assert run("evaluate")["scores"]
for name in ("predictions", "nrrd", "nnunet", "csv"):
    assert run("export", format=name, out=str(folder.parent / name))["files"]
assert run("slice_map", method="tsne")["places"]
assert len(run("suggest", count=2, strategy="entropy")["thumbnails"]) == 2
assert set(ran) == set(JOBS), set(JOBS) - set(ran)
print(json.dumps(sorted(name for name in {NOT_INSTALLED!r} if sys.modules.get(name))))
"""


def test_what_is_blocked_is_not_among_what_the_module_installs():
    lines = (ROOT / "ActiveSegmentation" / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    names = [re.split(r"[<>=!~ ]", line)[0] for line in lines if line and not line.startswith("#")]
    assert names
    assert not {IMPORT_NAMES.get(name, name) for name in names} & set(NOT_INSTALLED)


@pytest.mark.slow
def test_every_job_runs_without_what_the_module_does_not_install(phantom_cohort, study):
    command = [sys.executable, "-c", RUN, str(phantom_cohort), str(study.folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []
