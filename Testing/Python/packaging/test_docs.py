"""What the documents say exists: linked files, headings, scripts, commands and strategies."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from ActiveSegmentationLib.acquisition import Recommended, create_strategy, strategy_names
from ActiveSegmentationLib.cli.command import SUMMARIES

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = sorted([*ROOT.glob("docs/**/*.md"), *ROOT.glob("*.md"), *ROOT.glob("Resources/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(document: Path) -> set[str]:
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(document):
    missing = []
    for target in LINK.findall(document.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        place = (document.parent / path).resolve() if path else document
        if not place.exists() or (anchor and anchor not in anchors(place)):
            missing.append(target)
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_scripts_that_commands_name_exist(document):
    named = set(re.findall(r"(?:scripts|Testing/Benchmarks)/\w+\.py", document.read_text(encoding="utf-8")))
    assert not {name for name in named if not (ROOT / name).is_file()}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_exist(document):
    named = set(re.findall(r"^activesegmentation ([a-z][a-z-]*)", document.read_text(encoding="utf-8"), re.MULTILINE))
    assert not named - set(SUMMARIES)


def test_every_strategy_has_a_row_on_its_page():
    page = (ROOT / "docs" / "strategies.md").read_text(encoding="utf-8").partition("## All strategies")[2]
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\|.*\|.*\|", page.partition("\n## ")[0], re.MULTILINE)
    assert sorted(rows) == sorted(strategy_names())


def test_the_page_of_recommended_names_its_settings():
    page = (ROOT / "docs" / "experiments" / "recommended_strategy.md").read_text(encoding="utf-8")
    name = re.search(r"`recommended` is `([^`]+)`", page)
    assert name is not None
    assert create_strategy(name[1]) == Recommended().balanced


@pytest.mark.parametrize("script", ["strategy_table", "learner_table"])
def test_a_table_is_the_one_that_its_script_makes(script):
    spec = importlib.util.spec_from_file_location(script, ROOT / "scripts" / f"{script}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = module.PAGE.read_text(encoding="utf-8")
    assert module.page(text) == text, f"run python scripts/{script}.py"
