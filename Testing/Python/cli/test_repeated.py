"""Commands repeated after their last step, several people at work, models and anchors that were changed."""

from __future__ import annotations

import json
import os
import re
import stat

import pytest
from cli_helpers import TINY, run_cli

from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.loop import StudyLoop
from ActiveSegmentationLib.loop.overview import trained_rounds
from ActiveSegmentationLib.study import Study


@pytest.fixture(scope="module")
def study(tmp_path_factory, phantom_cohort):
    """A study in which every command was given twice, as by someone who could not tell that it had ended."""
    place = tmp_path_factory.mktemp("repeated")
    place.chmod(0o700)
    folder, volume = place / "study", "patient001_frame01"
    for words in (
        ["new", folder, "--cohort", phantom_cohort, "--annotation", "mask", *TINY],
        ["settings", folder],
        ["suggest", folder, "--count", "3", "--strategy", "random"],
        ["annotate", folder, "--oracle"],
        ["skip", folder, "patient002_frame01", "1", "--reason", "blurred"],
        ["mark", folder, "--volume", volume, "--from", "1", "--to", "2"],
        ["mark", folder, "--volume", volume, "--clear"],
        ["exclude", folder, volume],
        ["exclude", folder, volume, "--undo"],
        ["relocate", folder, phantom_cohort],
        ["train", folder, "--steps", "2"],
        ["predict", folder, "--out", place / "labels"],
        ["evaluate", folder, "--metrics", "dice", "--out", place / "scores.csv"],
        ["export", folder, "--format", "nifti", "--out", place / "export"],
        ["audit", folder, "--export-anchor", place / "anchor.json"],
        ["repair", folder, "--write"],
        ["status", folder],
        ["clear-cache", folder],
    ):
        for _ in range(2):
            result = run_cli(*words)
            assert result.code == 0, (words, result)
    return folder


def test_repeated_commands_change_nothing(study):
    opened = Study.open(study)
    assert opened.requests.rounds() == [1]
    assert len(opened.annotations("oracle")) == 3
    assert all(not record.versions for file in opened.slice_files() for record in file.slices.values())
    again = run_cli("annotate", study, "--oracle", "--json")
    assert json.loads(again.out) == {"committed": 0, "unchanged": 3, "volumes": 0, "annotated": 3}


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_in_a_private_folder_every_file_is_private(study):
    """Also those in folders that a file manager may move elsewhere; lock files are empty."""
    found = [path for path in study.parent.rglob("*") if path.stat().st_size or not path.name.endswith(".lock")]
    rights = {path: stat.S_IMODE(path.stat().st_mode) for path in found}
    assert not [(path, oct(mode)) for path, mode in rights.items() if mode & 0o077]


def test_a_study_in_which_something_was_done_is_not_made_again(study, phantom_cohort):
    result = run_cli("new", study, "--cohort", phantom_cohort, "--annotation", "mask", *TINY)
    assert result.code == 2
    assert "study already" in result.err


def test_people_commit_while_a_model_trains(study, tmp_path):
    """Two people give all of their commands in processes of their own, in the middle of a training."""
    opened = Study.open(study)
    maps = tmp_path / "maps"
    assert run_cli("export", study, "--format", "nifti", "--out", maps).code == 0
    before = len(opened.annotations())
    said = []

    class Interrupting(Progress):
        def show(self, stage, done, total, **values):
            if not said and stage.startswith("Training") and done:
                for name in ("Anna", "Zoë"):
                    for words in (
                        ["annotate", study, "--from", maps, "--annotator", name],
                        ["skip", study, "patient003_frame01", "1", "--reason", "dark", "--annotator", name],
                    ):
                        said.append(run_cli(*words, process=True))

    with opened.lock():
        loop = StudyLoop(opened, device="cpu", progress=Interrupting())
        loop.train(steps=3)
    assert [result.code for result in said] == [0] * 4, said
    fresh = Study.open(study)
    assert {len(fresh.annotations(name)) for name in ("Anna", "Zoë")} == {before}
    assert fresh.requests.read_record(1, "config")["annotated slices"] == before
    assert run_cli("audit", study).code == 0
    assert run_cli("train", study, "--steps", "2").code == 0


def test_a_changed_model_is_refused(study, tmp_path):
    (number,) = trained_rounds(Study.open(study))
    weights = next((study / "rounds" / str(number) / "model").glob("**/*.safetensors"))
    content = weights.read_bytes()
    changed = bytearray(content)
    changed[-7] ^= 1
    weights.write_bytes(changed)
    try:
        for words in (["predict", study, "--out", tmp_path / "out"], ["evaluate", study]):
            result = run_cli(*words)
            assert result.code == 2, result
            assert weights.name in result.err
            assert "train" in result.err.lower()
        assert not (tmp_path / "out").exists()
    finally:
        weights.write_bytes(content)
    assert run_cli("evaluate", study, "--metrics", "dice").code == 0


def test_an_anchor_detects_a_rollback(study, tmp_path):
    anchor = tmp_path / "anchor.json"
    written = run_cli("audit", study, "--export-anchor", anchor)
    assert written.code == 0
    assert re.search(r"SHA-256: [0-9a-f]{64}", written.out)
    assert run_cli("audit", study, "--anchor", anchor).code == 0
    chain = study / "audit" / "oracle.jsonl"
    saved = {path: path.read_bytes() for path in [chain, *study.glob("annotations/*/oracle.*")] if path.is_file()}
    for path in saved:
        path.unlink()
    try:
        assert run_cli("audit", study, "--no-images").code == 0, "without an anchor this is not told"
        told = run_cli("audit", study, "--anchor", anchor)
        assert told.code == 1
        assert "oracle: the anchor of" in told.out
    finally:
        for path, content in saved.items():
            path.write_bytes(content)
    assert run_cli("audit", study, "--anchor", anchor).code == 0
    value = json.loads(anchor.read_text(encoding="utf-8"))
    value["chains"].pop("oracle")
    anchor.write_text(json.dumps(value), encoding="utf-8")
    forged = run_cli("audit", study, "--anchor", anchor)
    assert forged.code == 2
    assert "changed after it was written" in forged.err
