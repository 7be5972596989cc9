"""docs/architecture.md is drawn from the code, has no circle, and answers questions with files that hold the answer."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT = ROOT / "docs" / "architecture.md"
LINK = re.compile(r"\[([^\]]+)\]\(([^)#\s]+)[^)]*\)")


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "scripts" / "draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_picture_is_that_of_the_code(script):
    assert script.drawn() == script.drawing(), "run scripts/draw_architecture.py"


def test_the_script_draws_into_the_document(script, tmp_path, monkeypatch):
    copy = tmp_path / "architecture.md"
    copy.write_text(f"Above.\n{script.START}\nold\n{script.END}\nBelow.\n", encoding="utf-8")
    monkeypatch.setattr(script, "DOCUMENT", copy)
    assert script.main() == 0
    assert copy.read_text(encoding="utf-8") == f"Above.\n{script.drawing()}\nBelow.\n"


def test_no_part_imports_itself_through_others(script):
    graph = script.imports()
    assert len(graph) > 10
    assert not [part for part in graph if part in script.reachable(graph, part)]


def test_arrows_that_follow_from_others_are_left_out(script):
    graph = {"a": frozenset("bc"), "b": frozenset("c"), "c": frozenset()}
    assert script.reduced(graph) == {"a": ["b"], "b": ["c"], "c": []}


def questions() -> dict[str, str]:
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Questions")[2]
    return dict(re.findall(r"^### ([^\n]+\?)\n(.*?)(?=^### |\Z)", text, re.MULTILINE | re.DOTALL))


def test_there_are_ten_questions():
    assert len(questions()) >= 10


@pytest.mark.parametrize("question", questions())
def test_answers_open_at_most_three_files_which_hold_what_is_named(question):
    links = LINK.findall(questions()[question])
    assert 1 <= len({target for _, target in links}) <= 3
    for text, target in links:
        path = (DOCUMENT.parent / target).resolve()
        assert path.is_file(), target
        for name in re.findall(r"`([\w.]+)`", text):
            assert name == path.name or last_part(name).search(path.read_text(encoding="utf-8")), (name, target)


def last_part(name: str) -> re.Pattern[str]:
    """What a file that defines ``Class.method``, a function, a class, a field or a constant must show."""
    last = re.escape(name.rpartition(".")[2])
    return re.compile(rf"^\s*(class|def) {last}\b|^\s*{last}\b.*[:=]", re.MULTILINE)
