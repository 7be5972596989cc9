"""User settings, independent of scene and study: name, device, the worker's Python, recent studies."""

from __future__ import annotations

from pathlib import Path

import qt
import slicer

GROUP = "ActiveSegmentation"
MOST_RECENT = 10


def value(name: str, default: str = "") -> str:
    """Read a user setting."""
    return str(slicer.util.settingsValue(f"{GROUP}/{name}", default))


def setValue(name: str, text: str) -> None:
    """Store a user setting."""
    qt.QSettings().setValue(f"{GROUP}/{name}", text)


def recentStudies() -> list[Path]:
    """Folders of recently opened studies, the latest first; folders that no longer exist are left out."""
    return [Path(text) for text in value("Recent").split("\n") if text and (Path(text) / "study.json").is_file()]


def addRecentStudy(folder: Path) -> None:
    """Add a study to the recently opened ones."""
    others = [path for path in recentStudies() if path != folder]
    setValue("Recent", "\n".join(str(path) for path in [folder, *others][:MOST_RECENT]))
