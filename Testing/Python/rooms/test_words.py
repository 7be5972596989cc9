"""One thing has one name: words that were replaced do not come back, in code, tests or documents."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("ActiveSegmentation", "ActiveSegmentationLib", "Testing", "docs", "scripts", ".github", "Resources")
KINDS = {".py", ".md", ".toml", ".ui", ".yml", ".jinja", ".cff"}

REPLACED = {
    r"(?<!there )(is|are|was|were) no (?!longer|more|less|worse|better|evidence)": "is not a ...",
    r"nobody (decided|annotated|drew|labelled)|undecided|not decided|not annotated(?= ?=)": "unlabelled",
    r"ignore values?": "ignore label",
    r"doubt(s|ful)?": "uncertainty, uncertain",
    r"figures of predictions|class figure\b": "per-slice scores",
    r"hindrances?": "unavailable reason",
    r"why it cannot judge|def knowledge|class knowledge|knowledge of": "not ready reason, pool statistics",
    r"class (question|suggestion)|what came of": "selection request, selection result",
    r"(un|is |are |was |were )told|told of|unless (told|given|said|asked)": "reported; Default: ...",
    r"def standing|class (ground|places|turns)": "a name that says what the thing does",
    r"unseen": "prequential score; slices that a model was not trained on",
    r"segmenters?(?!-map|, segmenter-map)": "learner, model or network",
    r"behind (its|the) last": "one past the last",
    r"missing to certainty": "one minus the highest class probability",
    r"share a second can": "a score per second is undefined",
    r"not concerned": "unaffected",
    r"whoever": "people who, anyone who",
    r"brush in hand": "the active effect",
    r"trains? by itself": "train automatically",
    r"beside": "next to, in addition to",
}
"""Regular expressions of what is no longer said, and what is said instead."""

STORED = ("undecided", "undecided pixels", "doubt", "slice_doubt", "hindrance", "unseen", "segmenter")
"""Names in files, messages and options that older studies and scripts use: they stay, in quotes or after a colon."""

ENGLISH = r"told apart|(user|people|process|python)( \w+)? (is|are|was|were) told"
"""What is right although a part of it is in ``REPLACED``."""


def plain(text: str) -> str:
    """The words of a file: identifiers in their parts, lines joined, in lower case; names that are stored left out."""
    names = "|".join(STORED)
    text = re.sub(rf"([\"'`])({names})\s?\1|:({names})\b", " ", re.sub(r"([a-z])(?=[A-Z])", r"\1 ", text).lower())
    return " ".join(re.sub(r"\n\s*#|_", " ", text).split())


def replaced(text: str) -> list[str]:
    """What a text says that is no longer said, with what is said instead."""
    text, found = plain(text), []
    for pattern, instead in REPLACED.items():
        for match in re.finditer(rf"(?:{pattern})\b", text):
            before, after = text[: match.start()][-60:], text[match.start() : match.end() + 30]
            if not before[-1:].isalpha() and not re.search(ENGLISH, before + after):
                found.append(f"'{before}{after}': {instead}")
    return found


def files() -> list[Path]:
    within = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*")]
    chosen = [path for path in (*within, *ROOT.glob("*.*")) if path.suffix in KINDS and path != Path(__file__)]
    return [path for path in chosen if not {"build", "__pycache__"} & set(path.parts)]


def test_replaced_words_do_not_come_back():
    found = {path.relative_to(ROOT).as_posix(): replaced(path.read_text(encoding="utf-8")) for path in files()}
    assert len(found) > 600
    assert not {name: words for name, words in found.items() if words}


@pytest.mark.parametrize(
    "text",
    [
        "'x' is no whole number",
        "# what nobody\n# decided",
        "modelDoubt = 1",
        "the_segmenter",
        "files\nbeside them",
        '"hindrances"',
        "It is told.",
    ],
)
def test_they_are_found(text):
    assert replaced(text)


@pytest.mark.parametrize(
    "text", ['"hindrance"', "`coreset:segmenter`", "There is no number.", "The user is told once.", "no longer"]
)
def test_what_is_stored_or_english_stays(text):
    assert not replaced(text)
