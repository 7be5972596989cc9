"""Scripts in Slicer end it with their exit code, whatever happens."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import slicer

from ActiveSegmentationLib.scene.scripting import runScript


def fails(words):
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    ("main", "code"),
    [
        (lambda words: 0, 0),
        (lambda words: 3, 3),
        (lambda words: sys.exit(2), 2),
        (lambda words: sys.exit(), 0),
        (fails, 1),
    ],
)
@pytest.mark.parametrize("inSlicer", [True, False])
def test_a_script_ends_with_its_exit_code(main, code, inSlicer, monkeypatch, capfd):
    codes = []
    monkeypatch.setattr(slicer, "util", SimpleNamespace(exit=codes.append))
    if inSlicer:
        monkeypatch.setattr(slicer, "app", object(), raising=False)
        runScript(main)
    else:
        monkeypatch.delattr(slicer, "app", raising=False)
        with pytest.raises(SystemExit) as end:
            runScript(main)
        codes.append(end.value.code)
    assert codes == [code]
    assert ("broken" in capfd.readouterr().err) == (main is fails)


def test_a_script_gets_the_words_after_its_name(monkeypatch):
    given = []
    monkeypatch.setattr(sys, "argv", ["script.py", "--seed", "1"])
    monkeypatch.setattr(slicer, "app", object(), raising=False)
    monkeypatch.setattr(slicer, "util", SimpleNamespace(exit=lambda code: None))
    runScript(lambda words: given.extend(words) or 0)
    assert given == ["--seed", "1"]
