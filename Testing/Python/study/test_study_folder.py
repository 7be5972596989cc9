"""Creating, opening, moving, migrating and locking studies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import ActiveSegmentationLib
from ActiveSegmentationLib.cohort import AnnotationKind, SliceId
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.study import MIGRATIONS, SCHEMA, LabelSet, Study, relocate

LABELS = LabelSet.from_names({5: "a", 85: "b"})
MASK = AnnotationKind.MASK


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_new_study_opens_as_it_was_made(make_cohort, tmp_path):
    cohort = make_cohort(volumes=3, axis=1)
    settings = {"stack": {"size": [32, 32]}, "seed": 3}
    made = Study.create(tmp_path / "deep" / "study", cohort, LABELS, AnnotationKind.SCRIBBLE, settings=settings)
    opened = Study.open(made.folder)
    for study in (made, opened):
        assert study.folder == tmp_path / "deep" / "study"
        assert study.labels == LABELS
        assert study.annotation == AnnotationKind.SCRIBBLE
        assert study.settings == settings
        assert study.cohort == cohort.with_labels(LABELS.names)
        assert study.annotations() == {}
        assert study.excluded() == {}
    assert made.id == opened.id
    assert opened.cache_folder == made.folder / "cache"
    assert opened.audit.verify() == []
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["study"]


def test_the_name_of_unlabelled_pixels_is_refused_in_a_new_study_only(make_cohort, tmp_path):
    """Older versions allowed it, and such a study opens unchanged."""
    with pytest.raises(BadInput, match="'unlabelled' cannot be a label name"):
        Study.create(tmp_path / "study", make_cohort(), LabelSet.from_names({5: "unlabelled"}), MASK)
    assert not (tmp_path / "study").exists()
    folder = Study.create(tmp_path / "study", make_cohort(), LabelSet.from_names({5: "organ"}), MASK).folder
    file = folder / "study.json"
    file.write_text(file.read_text(encoding="utf-8").replace('"organ"', '"unlabelled"'), encoding="utf-8")
    assert Study.open(folder).labels.names == {5: "unlabelled"}


def test_settings_cannot_be_changed_from_outside(make_cohort, tmp_path):
    settings = {"stack": {"size": 1}}
    study = Study.create(tmp_path / "s", make_cohort(), LABELS, MASK, settings=settings)
    study.settings["stack"]["size"] = 2
    settings["stack"]["size"] = 3
    assert study.settings == Study.open(study.folder).settings == {"stack": {"size": 1}}


def test_an_empty_folder_is_taken(make_cohort, tmp_path):
    (tmp_path / "s").mkdir()
    assert Study.create(tmp_path / "s", make_cohort(), LABELS, MASK).folder == tmp_path / "s"


def test_a_folder_with_something_in_it_is_refused_and_not_touched(make_cohort, tmp_path):
    cases = {"full": "not empty", "study": "a study already", "file": "a file"}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.docx").write_text("years")
    Study.create(tmp_path / "study", make_cohort(), LABELS, MASK)
    (tmp_path / "file").write_text("x")
    before = files_of(tmp_path)
    for name, message in cases.items():
        with pytest.raises(BadInput, match=message):
            Study.create(tmp_path / name, make_cohort(), LABELS, MASK)
    assert files_of(tmp_path) == before


def test_a_cohort_without_volumes_or_with_impossible_ids_is_refused(make_cohort, tmp_path):
    cohort = make_cohort()
    with pytest.raises(BadInput, match="no usable volume"):
        Study.create(tmp_path / "s", cohort.with_volumes(()), LABELS, MASK)
    escaping = cohort.with_volumes((replace(cohort.volumes[0], id="../x"),))
    with pytest.raises(BadInput, match="volume id"):
        Study.create(tmp_path / "s", escaping, LABELS, MASK)
    assert list(tmp_path.iterdir()) == []


def test_failing_to_create_leaves_nothing(make_cohort, tmp_path, monkeypatch):
    real = os.replace
    calls, fatal = [], []

    def failing(source, target, **options):
        calls.append(target)
        if len(calls) in fatal:
            raise OSError(28, "No space left on device")
        return real(source, target, **options)

    monkeypatch.setattr(os, "replace", failing)
    Study.create(tmp_path / "good", make_cohort(), LABELS, MASK)
    total = len(calls)
    assert total >= 3
    for number in range(1, total + 1):
        calls.clear()
        fatal[:] = [number]
        with pytest.raises(JobFailed, match="disk is full"):
            Study.create(tmp_path / "bad", make_cohort(), LABELS, MASK)
        assert [path.name for path in tmp_path.iterdir()] == ["good"]


def test_settings_that_are_not_json_leave_nothing(make_cohort, tmp_path):
    with pytest.raises((TypeError, ValueError)):
        Study.create(tmp_path / "s", make_cohort(), LABELS, MASK, settings={"x": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_folder_without_a_study_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(BadInput, match=r"no study.*new") as caught:
            Study.open(folder)
        assert caught.value.where == str(folder)


@pytest.mark.parametrize("name", ["study.json", "cohort.json"])
@pytest.mark.parametrize("content", ["", '{"schema"', "[]", '{"schema": 1}', '{"schema": "x"}', "null"])
def test_a_damaged_file_is_named(make_study, name, content):
    study = make_study()
    (study.folder / name).write_text(content)
    with pytest.raises(BadInput, match=name.replace(".", r"\.")):
        Study.open(study.folder)


@pytest.mark.parametrize(
    "change", [{"schema": 0}, {"id": 5}, {"created": None}, {"cohort": {"file": "cohort.json", "root": ["a"]}}]
)
def test_a_value_of_another_type_is_damage(make_study, change):
    path = make_study().folder / "study.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(BadInput, match=r"study\.json.*damaged"):
        Study.open(path.parent)


def test_volume_ids_edited_by_hand_cannot_escape(make_study):
    study = make_study()
    path = study.folder / "cohort.json"
    path.write_text(path.read_text().replace('"v000"', '"../../v000"'))
    with pytest.raises(BadInput, match="volume id"):
        Study.open(study.folder)


def test_study_and_cohort_move_together(make_cohort, annotate, tmp_path):
    root = tmp_path / "here" / "images"
    root.mkdir(parents=True)
    study = Study.create(tmp_path / "here" / "work" / "study", make_cohort(root=root), LABELS, MASK)
    study.commit([annotate(study, 1)])
    value = json.loads((study.folder / "study.json").read_text())
    assert value["cohort"]["root"] == "../../images"
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = Study.open(tmp_path / "there" / "work" / "study")
    assert moved.cohort.root == tmp_path / "there" / "images"
    assert list(moved.annotations()) == [SliceId("v000", 1)]
    assert moved.audit.verify() == []


def test_a_cohort_that_went_elsewhere_is_found_again_by_relocate(make_cohort, tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    study = Study.create(tmp_path / "study", make_cohort(root=root), LABELS, MASK)
    shutil.move(root, tmp_path / "archive")
    with pytest.raises(BadInput, match="relocate") as caught:
        Study.open(study.folder)
    assert caught.value.where == str(root)
    (tmp_path / "other").mkdir()
    with pytest.raises(BadInput, match=r"not the study's cohort: v000\.nii\.gz and 1 more"):
        relocate(study.folder, tmp_path / "other")
    with pytest.raises(BadInput, match="no such file"):
        relocate(study.folder, tmp_path / "nowhere")
    again = relocate(study.folder, tmp_path / "archive")
    assert again.cohort.root == tmp_path / "archive"
    assert Study.open(study.folder).cohort.root == tmp_path / "archive"
    assert [record["event"] for record in again.audit.records()] == ["created", "relocate"]


def version_0(study: Study) -> dict:
    """The study's file as version 0 wrote it."""
    path = study.folder / "study.json"
    value = json.loads(path.read_text())
    old = {name: value[name] for name in ("id", "created", "labels", "annotation")}
    old |= {"schema": 0, "cohort": value["cohort"]["root"]}
    path.write_text(json.dumps(old))
    return old


def test_a_study_of_version_0_is_brought_up_to_date_and_the_old_file_kept(make_study, annotate):
    study = make_study()
    study.commit([annotate(study, 1)])
    study.exclude("v001", "gone with the old form")
    old = version_0(study)
    migrated = Study.open(study.folder)
    assert migrated.labels == study.labels
    assert migrated.id == study.id
    assert migrated.cohort == study.cohort
    assert migrated.settings == {}
    assert migrated.excluded() == {}
    assert list(migrated.annotations()) == [SliceId("v000", 1)]
    assert json.loads((study.folder / "study.schema-0.json").read_text()) == old
    assert json.loads((study.folder / "study.json").read_text())["schema"] == SCHEMA
    before = files_of(study.folder)
    Study.open(study.folder)
    assert files_of(study.folder) == before


def test_every_older_version_has_a_migration():
    assert sorted(MIGRATIONS) == list(range(SCHEMA))


def test_a_damaged_old_study_is_not_touched(make_study):
    study = make_study()
    path = study.folder / "study.json"
    path.write_text('{"schema": 0}')
    with pytest.raises(BadInput, match=r"study\.json: The file is damaged"):
        Study.open(study.folder)
    assert path.read_text() == '{"schema": 0}'


def test_a_newer_study_is_refused(make_study):
    study = make_study()
    path = study.folder / "study.json"
    path.write_text(path.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}'))
    before = files_of(study.folder)
    with pytest.raises(BadInput, match=r"study\.json: .*newer version.*Update"):
        Study.open(study.folder)
    assert files_of(study.folder) == before


def test_excluded_volumes_are_left_out_and_kept(make_study, annotate):
    study = make_study()
    annotation = annotate(study, 1)
    study.commit([annotation, annotate(study, 2, volume="v001")])
    study.skip(SliceId("v000", 0), "Anna", "blurred")
    study.exclude("v000", "wrong sequence")
    other = Study.open(study.folder)
    for opened in (study, other):
        assert opened.excluded() == {"v000": "wrong sequence"}
        assert list(opened.annotations()) == [SliceId("v001", 2)]
        assert len(opened.annotations(include_excluded=True)) == 2
        assert opened.skipped() == {}
    for refused in (
        lambda: other.commit([annotate(study, 1)]),
        lambda: other.skip(annotation.slice, "Anna", "x"),
        lambda: other.flag(annotation.slice, "Anna", "x"),
    ):
        with pytest.raises(BadInput, match="'v000' is excluded"):
            refused()
    other.include("v000")
    assert len(study.annotations()) == 2
    study.include("v000")
    with pytest.raises(BadInput, match="no volume 'v009'"):
        study.exclude("v009", "x")
    assert [record["event"] for record in study.audit.records()] == ["created", "exclude", "include"]


HOLDER = """
    import sys
    from ActiveSegmentationLib.study import Study
    with Study.open(sys.argv[1]).lock():
        print("locked", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def holder(make_study):
    """A study that another process holds, and that process."""
    study = make_study()
    environment = {**os.environ, "PYTHONPATH": str(Path(ActiveSegmentationLib.__file__).parents[1])}
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(study.folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline() == "locked\n"
    yield study, process
    process.kill()
    process.communicate()


def test_a_second_process_is_told_who_holds_the_study(holder, annotate):
    study, process = holder
    with pytest.raises(BadInput, match=rf"in use by process {process.pid} .*Wait") as caught, study.lock():
        pass
    assert caught.value.where == str(study.folder)
    study.commit([annotate(study)])
    assert len(study.annotations()) == 1
    process.kill()
    process.wait()
    with study.lock(wait=10):
        assert json.loads((study.folder / ".lock.json").read_text())["pid"] == os.getpid()
    assert not (study.folder / ".lock.json").exists()


def test_a_lock_that_is_let_go_meanwhile_is_waited_for(holder):
    study, process = holder
    timer = threading.Timer(0.2, lambda: process.communicate("\n"))
    timer.start()
    with study.lock(wait=30):
        pass
    timer.join()


def test_the_same_object_may_enter_its_lock_again(make_study):
    study = make_study()
    with study.lock(), study.lock():
        pass
    with study.lock(), pytest.raises(BadInput, match="in use"), Study.open(study.folder).lock():
        pass
    with Study.open(study.folder).lock():
        pass


def test_an_error_within_the_lock_lets_go_of_it(make_study):
    study = make_study()
    with pytest.raises(ZeroDivisionError), study.lock():
        raise ZeroDivisionError
    with Study.open(study.folder).lock():
        pass


def test_writers_of_one_annotator_exclude_only_each_other(make_study, annotate):
    from ActiveSegmentationLib.study.ledger import Ledger

    study = make_study()
    writer = Ledger(study.folder, study.id)
    with (
        writer.writing("anna"),
        pytest.raises(BadInput, match="Another process is writing as 'anna'"),
        writer.writing("anna", wait=0.05),
    ):
        pass
    with writer.writing("anna"):
        study.commit([annotate(study, annotator="Zoe")])
    assert len(study.annotations()) == 1


def test_without_filelock_the_advice_is_to_install_it(make_study, annotate, monkeypatch):
    study = make_study()
    monkeypatch.setitem(sys.modules, "filelock", None)
    for work in (lambda: study.commit([annotate(study)]), lambda: study.lock().__enter__()):
        with pytest.raises(JobFailed, match="pip install filelock"):
            work()
    assert study.annotations() == {}


def test_a_file_system_without_locks_is_said(make_study, monkeypatch):
    import filelock

    def acquire(self, **options):
        raise NotImplementedError

    study = make_study()
    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with pytest.raises(JobFailed, match="no file locks"), study.lock():
        pass


def test_the_lock_file_holds_no_argument(make_study, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/opt/ActiveSegmentationLib/__main__.py", "train", "/data/Jane Doe/study"])
    study = make_study()
    with study.lock():
        text = (study.folder / ".lock.json").read_text()
        assert json.loads(text)["command"] == "ActiveSegmentationLib train"
        assert "Jane" not in text


def test_importing_the_room_loads_nothing_heavy():
    code = """
        import sys
        import ActiveSegmentationLib.study
        print(sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "SimpleITK", "filelock", "monai"}))
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(ActiveSegmentationLib.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout == "[]\n"
