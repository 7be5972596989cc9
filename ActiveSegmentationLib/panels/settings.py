"""What follows the person, not the scene or the study: name, device, the worker's Python, recent studies."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer

GROUP = "ActiveSegmentation"
MOST_RECENT = 10


def value(name: str, default: str = "") -> str:
    """A setting of the person."""
    return str(slicer.util.settingsValue(f"{GROUP}/{name}", default))


def setValue(name: str, text: str) -> None:
    """Keep a setting of the person."""
    qt.QSettings().setValue(f"{GROUP}/{name}", text)


def recentStudies() -> list[Path]:
    """Folders of the studies that were open last, the latest first; those that are gone are left out."""
    return [Path(text) for text in value("Recent").split("\n") if text and (Path(text) / "study.json").is_file()]


def addRecentStudy(folder: Path) -> None:
    """Put a study at the head of the recent ones."""
    others = [path for path in recentStudies() if path != folder]
    setValue("Recent", "\n".join(str(path) for path in [folder, *others][:MOST_RECENT]))
