"""Testing/Benchmarks/gpu_check.py: every stage runs on the CPU, and gives the same on a CUDA GPU where there is one."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
import zipfile
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from threads import one_thread

BENCHMARKS = Path(__file__).resolve().parents[3] / "Testing" / "Benchmarks"
STAGES = ["learned metric", "training unet", "training auto", "training dmpls", "training dcan", "prediction"]
STAGES += ["sampling", "gradients", "k-center", "FLQMI", "out of memory"]


@pytest.fixture(scope="module")
def modules():
    """The script and its stages, with an invented pool that is small."""
    with pytest.MonkeyPatch.context() as patch, one_thread():
        patch.syspath_prepend(str(BENCHMARKS))
        script, stages = importlib.import_module("gpu_check"), importlib.import_module("gpu_stages")
        for name, value in {"POINTS": 400, "WIDTH": 16, "QUERIES": 20, "PICKS": 5}.items():
            patch.setattr(stages, name, value)
        patch.setattr("gpu_measure.WARM_UP", 1)
        yield script, stages


@pytest.fixture(scope="module")
def prepared(modules, phantom_cohort, tmp_path_factory):
    """Folder of a prepared stack."""
    folder = tmp_path_factory.mktemp("prepared")
    assert modules[0].main(["--prepare", str(phantom_cohort), "--out", str(folder), "--size", "32"]) == 0
    return folder


@pytest.mark.slow
def test_every_stage_runs_without_a_gpu(modules, prepared, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code = modules[0].main(["--stack", str(prepared), "--out", str(tmp_path), "--seconds", "0.01"])
    found = json.loads((tmp_path / "gpu_check.json").read_text(encoding="utf-8"))
    assert {
        row["stage"]: (row["state"], row["note"]) for row in found["stages"] if row["state"] != "no CUDA device"
    } == {}
    assert code == 0
    assert [row["stage"] for row in found["stages"]] == STAGES
    assert found["about"]["GPU"] == "no CUDA device"
    assert found["about"]["slices"] == "40 of 32 x 32 pixels"
    speeds = {row["stage"]: row["steps"]["cpu"] for row in found["stages"]}
    assert all(speed > 0 for stage, speed in speeds.items() if stage != "out of memory")
    assert (tmp_path / "gpu_check.txt").read_text(encoding="utf-8").strip() in capsys.readouterr().out


@pytest.mark.cuda
@pytest.mark.parametrize("stage", STAGES)
def test_a_gpu_gives_the_same_without_waits(modules, prepared, stage):
    script, stages = modules
    (folder,) = [path.parent for path in prepared.rglob("stack.json")]
    row = script.run(stage, stages.PARTS[stage], stages.World(stages.SliceStack(folder), 0.01), "cuda")
    assert row.state == "ok", row


@pytest.mark.parametrize(
    ("values", "waits", "state"),
    [
        ([1.0, 200.0], {}, "ok"),
        ([1.0, 203.0], {}, "differs"),
        ([1.0, 200.0], {"harness.py:1": 1.0}, "waits"),
        ([1.0, np.nan], {}, "failed"),
    ],
)
def test_results_are_judged(modules, values, waits, state):
    script, stages = modules
    row = script.Row("stage", tolerance=0.01)
    outcomes = {"cpu": stages.Outcome(np.array([1.0, 200.0])), "cuda": stages.Outcome(np.array(values), waits=waits)}
    script.judge(row, stages.Part(stages.prediction, 0.01), outcomes, "cuda")
    assert row.state == state


def test_waits_for_a_gpu_are_counted_by_their_place(modules, monkeypatch):
    modes = []
    monkeypatch.setattr("torch.cuda.synchronize", lambda device: None)
    monkeypatch.setattr("torch.cuda.set_sync_debug_mode", modes.append)
    with importlib.import_module("gpu_measure").counted_waits("cuda") as places:
        for _ in range(3):
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("of something else", stacklevel=1)
    assert modes == ["warn", "default"]
    ((place, count),) = places.items()
    assert (place.partition(":")[0], count) == ("test_gpu_check.py", 3)


def test_a_stage_that_fails_is_a_row(modules):
    script, stages = modules

    def broken(world, device):
        raise RuntimeError("CUDA error: no kernel image")

    row = script.run("stage", stages.Part(broken, 0.0), None, None)
    assert (row.state, row.note) == ("failed", "RuntimeError: CUDA error: no kernel image")


def test_stages_that_come_too_late_are_skipped(modules, prepared, tmp_path):
    words = ["--stack", str(prepared), "--out", str(tmp_path), "--minutes", "0", "--only", "k-center"]
    assert modules[0].main(words) == 1
    (row,) = json.loads((tmp_path / "gpu_check.json").read_text(encoding="utf-8"))["stages"]
    assert (row["state"], row["note"]) == ("skipped", "out of time")


def test_an_unknown_stage_and_a_folder_without_a_stack_are_refused(modules, prepared, tmp_path):
    with pytest.raises(SystemExit, match=r"There is no stage teleport\. Choose from: learned metric"):
        modules[0].main(["--stack", str(prepared), "--out", str(tmp_path), "--only", "teleport"])
    with pytest.raises(SystemExit, match="has 0 prepared stacks"):
        modules[0].main(["--stack", str(tmp_path), "--out", str(tmp_path)])


def test_wheels_are_unpacked_and_a_folder_without_them_refused(modules, tmp_path, monkeypatch):
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    about = "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n"
    files = {"carried.py": "VALUE = 7\n", "carried-1.0.dist-info/METADATA": about}
    files["carried-1.0.dist-info/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(wheels / "carried-1.0-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr("carried-1.0.dist-info/RECORD", "".join(f"{name},,\n" for name in files))
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules[0].unpack(wheels, tmp_path / "site")
    assert importlib.import_module("carried").VALUE == 7
    with pytest.raises(SystemExit, match="has no wheels"):
        modules[0].unpack(tmp_path / "site", tmp_path / "other")


def test_slices_are_prepared_up_to_the_limit(modules, phantom_cohort, tmp_path):
    options = Namespace(prepare=phantom_cohort, out=tmp_path, size=32, slices=12)
    folder = modules[0].prepare(options)
    record = json.loads((folder / "stack.json").read_text(encoding="utf-8"))
    assert record["shape"] == [10, 1, 32, 32]
