"""DAVIS (Perazzi et al. 2016): JPEGImages and Annotations; a video is a volume and a frame a slice."""

from __future__ import annotations

from pathlib import Path

from ActiveSegmentationLib.cohort.assembly import Candidate, Draft
from ActiveSegmentationLib.cohort.layouts.base import Layout, folders
from ActiveSegmentationLib.cohort.naming import natural_key
from ActiveSegmentationLib.cohort.roles import role_of_word
from ActiveSegmentationLib.cohort.types import LabelSource, Problem, Role, Source
from ActiveSegmentationLib.common.text import read_any_text

_FRAMES = (".jpg", ".jpeg", ".png")


def _frames(folder: Path) -> list[Path]:
    found = [file for file in folder.iterdir() if file.suffix.lower() in _FRAMES and not file.name.startswith(".")]
    return sorted(found, key=lambda file: natural_key(file.name))


def _videos(path: Path) -> list[Path]:
    """Folders of frames below JPEGImages, with or without a folder for the resolution (480p first)."""
    top = path / "JPEGImages"
    resolutions = sorted((f for f in folders(top) if not _frames(f)), key=lambda f: (f.name != "480p", f.name))
    return folders(resolutions[0]) if resolutions else folders(top)


def _roles(path: Path) -> dict[str, Role]:
    """The part of each video that a list below ImageSets (train.txt, val.txt, test-dev.txt) names."""
    roles = {}
    for file in sorted((path / "ImageSets").rglob("*.txt")):
        role = role_of_word(file.stem.partition("-")[0])
        for line in read_any_text(file)[0].splitlines() if role is not None else []:
            name = next(iter(line.split()), "")
            parts = name.strip("/").split("/")  # "bear", or "/JPEGImages/480p/bear/00000.jpg ..."
            roles[parts[-2] if len(parts) > 1 else name] = role
    return {name: role for name, role in roles.items() if role is not None}


def _recognises(path: Path) -> bool:
    return (path / "JPEGImages").is_dir()


def _read(path: Path) -> Draft:
    """Every video; a mask is used where every frame has one."""
    candidates = []
    problems = []
    roles = _roles(path)
    for video in _videos(path):
        frames = _frames(video)
        if not frames:
            problems.append(Problem(video.name, "The video has no frames.", "Restore its frames."))
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
        role = roles.get(video.name, Role.POOL)
        candidates.append(Candidate(video.name, video.name, (images,), mask, role=role))
    return Draft(candidates, {1: "object"}, problems)


LAYOUT = Layout("davis", "DAVIS: JPEGImages and Annotations; a video is a volume.", _recognises, _read)
