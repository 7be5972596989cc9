"""Sample cohorts for Slicer's module Sample Data, listed in a manifest in the module's resources."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.cohort import write_phantom
from ActiveSegmentationLib.common.files import read_json

CATEGORY = "ActiveSegmentation"
TITLE = "Active Segmentation"
MANIFEST = "SampleData.json"
PHANTOM_PATIENTS = 12


def readManifest(resources: Path) -> list[dict[str, Any]]:
    """The cohorts that can be downloaded: each with name, fileName, uri, checksum, bytes, thumbnail, licence, source.

    Raises:
        BadInput: If the manifest is missing or damaged.
    """
    return read_json(resources / MANIFEST)["cohorts"]


def registerSampleData(resources: Path) -> None:
    """Register the cohorts with the module Sample Data; nothing is downloaded before the user asks for it."""
    import SampleData

    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # newer than Slicer 5.12
        logic.registerCustomSampleDataCategory(CATEGORY, TITLE)
    icons = resources / "Icons"
    for cohort in readManifest(resources):
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=cohort["name"],
            thumbnailFileName=str(icons / cohort["thumbnail"]),
            uris=cohort["uri"],
            fileNames=cohort["fileName"],
            checksums=cohort["checksum"],
            loadFiles=False,
            customDownloader=_downloader(logic, cohort),
        )
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName="Generated hearts",
        uris=[],
        fileNames=[],
        thumbnailFileName=str(icons / "GeneratedHearts.png"),
        customDownloader=lambda source: _offer(writeSample(cohortFolder("GeneratedHearts"))),
    )


def cohortFolder(name: str) -> Path:
    """Folder of a sample cohort in Slicer's cache, which can be set and cleared in Slicer's settings."""
    import slicer

    return Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory() or tempfile.gettempdir()) / name


def writeSample(folder: Path) -> Path:
    """Write the generated cohort to a folder, unless the folder exists.

    Returns:
        The folder.
    """
    if not folder.is_dir():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        write_phantom(part, patients=PHANTOM_PATIENTS, scribbles=False)  # scribbles need a package that Slicer lacks
        part.rename(folder)
    return folder


def _downloader(logic: Any, cohort: dict[str, Any]) -> Callable[[Any], None]:
    def download(source: Any) -> None:
        archive = Path(
            logic().downloadFile(cohort["uri"], str(cohortFolder("")), cohort["fileName"], cohort["checksum"])
        )
        folder = archive.with_suffix("")
        if not folder.is_dir():
            unpack(archive, folder)
        _offer(folder)

    return download


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive completely or not at all; paths that lead out of the folder are refused.

    Raises:
        tarfile.FilterError: If the archive holds a path that leads out.
    """
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.unpack_archive(archive, part, filter="data")
    inner = [path for path in part.iterdir() if not path.name.startswith(".")]
    (inner[0] if len(inner) == 1 and inner[0].is_dir() else part).rename(folder)
    shutil.rmtree(part, ignore_errors=True)


def _offer(folder: Path) -> None:
    """Open the module and propose the cohort there."""
    import slicer

    if slicer.app.commandOptions().noMainWindow:
        return
    slicer.util.selectModule("ActiveSegmentation")
    slicer.modules.ActiveSegmentationWidget.wiring.study.offer(folder)
