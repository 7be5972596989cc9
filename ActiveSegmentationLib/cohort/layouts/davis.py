"""DAVIS (Perazzi et al. 2016): JPEGImages and Annotations; a video is a volume and a frame a slice."""

from __future__ import annotations

from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft
from ActiveSegmentationLib.cohort.layouts.base import Layout, folders
from ActiveSegmentationLib.cohort.naming import natural_key
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Source

_FRAMES = (".jpg", ".jpeg", ".png")


def _frames(folder: Path) -> list[Path]:
    found = [file for file in folder.iterdir() if file.suffix.lower() in _FRAMES and not file.name.startswith(".")]
    return sorted(found, key=lambda file: natural_key(file.name))


def _videos(path: Path) -> list[Path]:
    """Folders of frames below JPEGImages, with or without a folder for the resolution (480p first)."""
    top = path / "JPEGImages"
    resolutions = sorted((f for f in folders(top) if not _frames(f)), key=lambda f: (f.name != "480p", f.name))
    return folders(resolutions[0]) if resolutions else folders(top)


def _recognises(path: Path) -> bool:
    return (path / "JPEGImages").is_dir()


def _read(path: Path) -> Draft:
    """Every video; a mask is used where every frame has one."""
    candidates = []
    problems = []
    for video in _videos(path):
        frames = _frames(video)
        if not frames:
            problems.append(Problem(video.name, "The video has no frame.", "Restore its frames."))
            continue
        drawn = path / "Annotations" / video.relative_to(path / "JPEGImages")
        masks = [drawn / f"{frame.stem}.png" for frame in frames]
        missing = [mask for mask in masks if not mask.is_file()]
        if missing and len(missing) < len(masks):
            advice = "Restore them; the video is used without masks."
            problems.append(Problem(video.name, f"{len(missing)} frames have no mask.", advice, "warning"))
        source = Source("frames", tuple(str(mask) for mask in masks))
        mask = None if missing else LabelSource(source, None, ((255, 1),))
        images = Source("frames", tuple(str(frame) for frame in frames))
        candidates.append(Candidate(video.name, video.name, (images,), mask))
    return Draft(candidates, {1: "object"}, problems)


LAYOUT = Layout("davis", "DAVIS: JPEGImages and Annotations; a video is a volume.", _recognises, _read)
