"""The learner of docs/examples, as if its package were installed: in this process, or for others by a folder."""

from __future__ import annotations

import shutil
from importlib.metadata import EntryPoint
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "docs" / "examples" / "learner" / "residual_unet.py"
NAME, CLASS = "residual-unet", "residual_unet:ResidualUNetLearner"
GROUP = "activesegmentation.learners"


def add(monkeypatch, **others):
    """Add it to the learners of this process, with others by name (underscores for hyphens)."""
    from ActiveSegmentationLib.common import plugins

    monkeypatch.syspath_prepend(str(SOURCE.parent))
    values = {NAME: CLASS} | {name.replace("_", "-"): value for name, value in others.items()}
    points = [EntryPoint(name, value, GROUP) for name, value in values.items()]
    found = plugins.entry_points
    monkeypatch.setattr(plugins, "entry_points", lambda group: points if group == GROUP else found(group=group))


def install(folder):
    """Make a folder that adds it to every process with the folder in PYTHONPATH, as pip would; returns the folder."""
    about = folder / "residual_unet-1.0.dist-info"
    about.mkdir(parents=True)
    shutil.copy(SOURCE, folder)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: residual-unet\nVersion: 1.0\n", encoding="utf-8")
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n{NAME} = {CLASS}\n", encoding="utf-8")
    return folder
