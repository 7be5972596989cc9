"""Mutated image, label and table files: a reader may refuse them, it may not crash, hang, swallow memory or stumble."""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from outcome import Outcome

SECONDS = 20
"""Time after which one file counts as a hang."""

MEMORY = 3 << 30
"""Bytes of address space of the reading process; the sound files need a few megabytes."""

_WORDS = (b"0", b"-1", b"1", b"2", b"4", b"7", b"65536", b"4294967296", b"99999999999999999999", b"1e400", b"nan", b"%")
_WORDS += (b"LOCAL", b"LIST", b"True", b"False", b"", b"MET_FLOAT_ARRAY", b"MET_CHAR", b"zlib", b"gzip", b"/etc/passwd")


@dataclass(frozen=True)
class Reader:
    """A reader under attack.

    Attributes:
        name: What it reads.
        sound: Files that it accepts, by name.
        read: Reads a file.
        companions: Other files that it needs.
    """

    name: str
    sound: dict[str, bytes]
    read: Callable[[Path], object]
    companions: dict[str, bytes] = field(default_factory=dict)


def readers(work: Path) -> list[Reader]:
    """Every reader with sound files of its own making."""
    images = _images(work, (".nii", ".nii.gz"))
    msd = {f"{folder}/a.nii.gz": images["uint8-1.nii.gz"] for folder in ("imagesTr", "labelsTr")}
    return [
        Reader("MetaImage", _images(work, (".mha", ".mhd")), _read_image, _pixels(work)),
        Reader("NRRD", _images(work, (".nrrd", ".nhdr")), _read_image, _pixels(work)),
        Reader("NIfTI", images, _read_image),
        Reader("tables", _tables(), _read_cohort, {n: images[n] for n in ("uint8-0.nii", "int16-0.nii")}),
        Reader("dataset.json", _datasets(), _read_cohort, msd),
        Reader("DICOM", _dicom(work), _read_cohort),
    ]


def _images(work: Path, suffixes: tuple[str, ...]) -> dict[str, bytes]:
    import SimpleITK

    folder = work / "sound"
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for kind in (np.uint8, np.int16, np.float32):
        image = SimpleITK.GetImageFromArray(np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(kind))
        for suffix in suffixes:
            for packed in (False, True):
                path = folder / f"{np.dtype(kind).name}-{int(packed)}{suffix}"
                SimpleITK.WriteImage(image, str(path), packed)
                found[path.name] = path.read_bytes()
    return found


def _pixels(work: Path) -> dict[str, bytes]:
    """The separate files with pixels of the images written so far."""
    found = [path for path in (work / "sound").iterdir() if path.name.endswith((".raw", ".zraw", ".raw.gz"))]
    return {path.name: path.read_bytes() for path in found}


def _tables() -> dict[str, bytes]:
    rows = "patient,volume,image,mask,role\np1,v1,uint8-0.nii,uint8-0.nii,pool\np2,v2,int16-0.nii,,test\n"
    return {"cohort.csv": rows.encode(), "other.tsv": rows.replace(",", "\t").encode("utf-16")}


def _datasets() -> dict[str, bytes]:
    value = {
        "channel_names": {"0": "MR"},
        "labels": {"background": 0, "heart": 1},
        "numTraining": 1,
        "file_ending": ".nii.gz",
        "training": [{"image": "./imagesTr/a.nii.gz", "label": "./labelsTr/a.nii.gz"}],
        "test": [],
        "modality": {"0": "MR"},
    }
    return {"dataset.json": json.dumps(value, indent=1).encode()}


def _dicom(work: Path) -> dict[str, bytes]:
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a"])
    found = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    found.SOPClassUID, found.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    found.PatientID, found.Modality = "p1", "MR"
    found.StudyInstanceUID, found.SeriesInstanceUID = (generate_uid(entropy_srcs=[name]) for name in "bc")
    found.Rows, found.Columns, found.BitsAllocated, found.BitsStored, found.HighBit = 4, 5, 16, 16, 15
    found.PixelRepresentation, found.SamplesPerPixel, found.PhotometricInterpretation = 0, 1, "MONOCHROME2"
    found.PixelSpacing, found.ImagePositionPatient = [1.0, 1.0], [0.0, 0.0, 0.0]
    found.ImageOrientationPatient, found.SliceThickness, found.InstanceNumber = [1, 0, 0, 0, 1, 0], 2.0, 1
    found.PixelData = np.arange(20, dtype=np.uint16).tobytes()
    path = work / "sound.dcm"
    work.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, found, enforce_file_format=True)
    return {"slice.dcm": path.read_bytes()}


def _read_image(path: Path) -> None:
    from ActiveSegmentationLib.cohort import discover
    from ActiveSegmentationLib.cohort.headers import data_files, read_header
    from ActiveSegmentationLib.cohort.io import read_image, read_pixels

    data_files(path)
    read_header(path)
    read_pixels(path)
    cohort = discover(path)
    for volume in cohort.volumes:
        read_image(cohort, volume)


def _read_cohort(path: Path) -> None:
    from ActiveSegmentationLib.cohort import discover
    from ActiveSegmentationLib.cohort.io import read_image

    cohort = discover(path if path.suffix in (".csv", ".tsv") else path.parent)
    for volume in cohort.volumes:
        read_image(cohort, volume)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """The content with one to four changes: bits, bytes, cuts, copies, and words of its text lines replaced."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(7)
        place = rng.randrange(len(data)) if data else 0
        if kind == 0 and data:
            data[place] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[place] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        elif kind == 2:
            del data[place : place + rng.randint(1, 40)]
        elif kind == 3:
            data[place:place] = data[rng.randrange(len(data) + 1) :][: rng.randint(1, 40)]
        elif kind == 4:
            data = data[:place]
        else:
            data = _with_another_word(bytes(data), rng)
    return bytes(data)


def _with_another_word(data: bytes, rng: random.Random) -> bytearray:
    """Replace a number or a value in the text at the start of the content."""
    import re

    words = [match.span() for match in re.finditer(rb"[^\s,;:=\"]+", data[:2000])]
    if not words:
        return bytearray(data)
    start, stop = rng.choice(words)
    return bytearray(data[:start] + rng.choice(_WORDS) + data[stop:])


def attack(work: Path, each: int, seed: int = 0, only: str | None = None) -> list[Outcome]:
    """Let every reader read mutated files in a process of its own.

    Args:
        work: A new folder, best in memory.
        each: Files for each reader.
        seed: Seed of the mutations.
        only: Name of the only reader to attack. Default: all.
    """
    outcomes = []
    for reader in readers(work):
        if only is None or reader.name == only:
            outcome = Outcome(f"mutated files: {reader.name}")
            start = 0
            while start < each:
                start = _run(work / reader.name.replace(".", "-"), reader, start, each, seed, outcome)
            outcomes.append(outcome)
    return outcomes


def _mutations(reader: Reader, seed: int) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(f"{seed} {reader.name}")
    names = sorted(reader.sound)
    while True:
        name = rng.choice(names)
        yield name, mutated(reader.sound[name], rng)


def _run(folder: Path, reader: Reader, start: int, stop: int, seed: int, outcome: Outcome) -> int:
    """Read files in a process of its own until it ends, dies or hangs; returns the number of the next file.

    The process is a new one and no fork: a fork of a process with threads (ITK, torch, Qt) may wait for ever for a lock
    that one of the threads held.
    """
    receive, send = os.pipe()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with tempfile.TemporaryFile() as job:
        pickle.dump((folder, reader, start, stop, seed), job)
        job.seek(0)
        command = [sys.executable, __file__, "--read", str(send)]
        child = subprocess.Popen(command, stdin=job, pass_fds=[send], env=environment)
    os.close(send)
    number, patience = start, 6 * SECONDS  # for the imports
    with os.fdopen(receive, "rb") as messages:
        while True:
            ready, _, _ = select.select([messages], [], [], patience)
            patience = SECONDS
            if not ready:
                child.kill()
                outcome.fault("hung", _keep(folder, reader, number, seed))
                break
            try:
                number, problem = pickle.load(messages)
            except EOFError:
                break
            if problem:
                outcome.fault("unexpected", f"{problem} ({_keep(folder, reader, number, seed)})")
            number += 1
    status = child.wait()
    if status > 0:
        raise RuntimeError(f"The attack itself failed; {folder / 'attack failed.txt'} may say why.")
    if status < 0 and status != -signal.SIGKILL:
        outcome.fault("crashed", f"signal {-status} ({_keep(folder, reader, number, seed)})")
    following = number + (1 if number < stop and (status < 0 or number == start) else 0)
    outcome.tried += following - start
    return following


def _keep(folder: Path, reader: Reader, number: int, seed: int) -> str:
    """Keep the file that made trouble, for a look at it."""
    mutations = _mutations(reader, seed)
    name, content = next(found for n, found in enumerate(mutations) if n == number)
    kept = Path(os.environ.get("ATTACK_KEEPS", "/tmp/attack-kept")) / f"{folder.name}-{number}"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / name).write_bytes(content)
    return str(kept / name)


def _read_all(folder: Path, reader: Reader, start: int, stop: int, seed: int, send: int) -> None:
    from ActiveSegmentationLib.common.errors import ActiveSegmentationError

    null = os.open(os.devnull, os.O_WRONLY)  # the libraries under attack write to the terminal
    os.dup2(null, 1)
    os.dup2(null, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for other, content in reader.companions.items():
        (folder / other).parent.mkdir(exist_ok=True)
        (folder / other).write_bytes(content)
    last = ""
    for name, content in reader.sound.items():
        (folder / name).write_bytes(content)
        reader.read(folder / name)
        (folder / name).unlink()
    mutations = _mutations(reader, seed)
    with os.fdopen(send, "wb", buffering=0) as messages:
        pickle.dump((start - 1, ""), messages)
        for number in range(stop):
            name, content = next(mutations)
            if number < start:
                continue
            if last:
                (folder / last).unlink()
            last = name
            (folder / name).write_bytes(content)
            problem = ""
            try:
                reader.read(folder / name)
            except ActiveSegmentationError:
                pass
            except BaseException as error:  # noqa: BLE001 - counted
                problem = f"{type(error).__name__}: {error}"[:300]
            pickle.dump((number, problem), messages)


def _child(send: int) -> None:
    """The process that reads; its orders come on standard input."""
    folder, reader, start, stop, seed = pickle.load(sys.stdin.buffer)
    try:
        _read_all(folder, reader, start, stop, seed, send)
    except BaseException:
        (folder / "attack failed.txt").write_text(traceback.format_exc())
        raise


if __name__ == "__main__":
    if sys.argv[1] == "--read":
        _child(int(sys.argv[2]))
        sys.exit()
    for only in sys.argv[2:] or [None]:
        with tempfile.TemporaryDirectory(dir="/dev/shm") as place:
            for result in attack(Path(place), int(sys.argv[1]), only=only):
                print(result, flush=True)
