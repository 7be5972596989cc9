"""Peak memory and seconds of preparing, predicting and scoring one large CT volume, each in a process of its own.

``python Testing/Benchmarks/prediction_memory.py --out DIR`` makes a volume of 512 x 512 x 1,000 voxels (int16), trains
for a few steps and then measures. Linux only. Full size takes about half an hour on two cores and 10 GB of disk; small
networks are faster: ``--learner default/features=[4,8,8]/dropout=[0,0,0.1]/decoder_dropout=[0,0]/batch_size=2``.

"anonymous" is what the process has allocated; "resident" also counts the parts of mapped files that are in memory,
which the system takes back when it needs room. "without the model" is anonymous memory minus that of a process that has
only loaded PyTorch and the model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from compare_learners import training_settings

from ActiveSegmentationLib.api import annotate, create_study, train
from ActiveSegmentationLib.cohort import Geometry, SliceId, discover, volume_writer
from ActiveSegmentationLib.cohort.volume_writing import VolumeFormat
from ActiveSegmentationLib.loop import LoopSettings
from ActiveSegmentationLib.segmentation import TrainingSettings
from ActiveSegmentationLib.study import Study

ROOT = Path(__file__).resolve().parents[2]
INTERVAL = 0.02
LABELS = ("organ", "vessel")

PREPARE = """
from pathlib import Path
from ActiveSegmentationLib.loop import StudyLoop
from ActiveSegmentationLib.study import Study
print(len(StudyLoop(Study.open(Path({study!r})), device={device!r}).stack))
"""
LOAD = """
from pathlib import Path
from ActiveSegmentationLib.loop import StudyLoop
from ActiveSegmentationLib.study import Study
StudyLoop(Study.open(Path({study!r})), device={device!r}).require_model()
"""
WORKER = """
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.worker import jobs
print(len(jobs.predict({{"study": {study!r}, "device": {device!r}}}, Progress())["reviews"]))
"""


def write_ct(folder: Path, side: int, slices: int) -> None:
    """Write a cohort of one CT volume in the layout of nnU-Net: a body with two structures, different on each slice."""
    geometry = Geometry((side, side, slices), (0.7, 0.7, 1.0))
    rows, columns = np.mgrid[:side, :side] / side - 0.5
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 25, (side, side)).astype(np.int16)
    image = VolumeFormat(geometry, 2, np.dtype(np.int16))
    with (
        volume_writer(folder / "imagesTr" / "ct_0000.nii.gz", image) as images,
        volume_writer(folder / "labelsTr" / "ct.nii.gz", VolumeFormat(geometry, 2, np.dtype(np.uint8))) as labels,
    ):
        for number in range(slices):
            height = number / slices
            middle = 0.12 * np.cos(6 * height), 0.12 * np.sin(6 * height)
            body = rows**2 / 0.2 + columns**2 / 0.12 < 1
            organ = (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < 0.02 * np.sin(np.pi * height)
            vessel = (rows + middle[0]) ** 2 + (columns + middle[1]) ** 2 < 0.0006
            classes = np.where(vessel, 2, np.where(organ, 1, 0)).astype(np.uint8)
            values = np.where(body, np.array([0, 90, 220])[classes], -1000) + np.roll(noise, 37 * number, (0, 1))
            images.add(values[None])
            labels.add(classes[None])
    names = {"background": 0} | {name: number for number, name in enumerate(LABELS, 1)}
    about = {"channel_names": {"0": "CT"}, "labels": names, "numTraining": 1, "file_ending": ".nii.gz"}
    (folder / "dataset.json").write_text(json.dumps(about))


def make_study(options: argparse.Namespace) -> Path:
    """A study of the volume with a few annotated slices."""
    cohort, study = options.out / "Dataset001_CT", options.out / f"study-{options.learner.partition('/')[0]}"
    if not (cohort / "dataset.json").is_file():
        write_ct(cohort, options.side, options.slices)
    if not study.is_dir():
        few = {"steps": options.steps, "minutes": 0.0}
        known = training_settings(options.learner).to_json()
        settings = LoopSettings(training=TrainingSettings.from_json(known | few))
        create_study(study, discover(cohort), settings=settings)
    return study


def annotate_and_train(study: Path, options: argparse.Namespace) -> None:
    """Annotate slices with the reference labels and train, unless there is a model."""
    opened = Study.open(study)
    if not opened.annotations():
        from ActiveSegmentationLib.cohort import AnnotationKind
        from ActiveSegmentationLib.loop import StudyLoop

        stack = StudyLoop(opened, device="cpu").stack
        volume = stack.volumes[0]
        masks = stack.truth(volume.id, AnnotationKind.MASK)
        chosen = np.linspace(0.1, 0.9, 6) * volume.slice_count
        annotate(opened, {SliceId(volume.id, int(number)): masks[int(number)] for number in chosen})
    train(opened, device=options.device)


def measured(words: list[str]) -> tuple[float, float, float]:
    """Run a command: its seconds, and its peak anonymous and resident memory in GB.

    Raises:
        SystemExit: If it fails.
    """
    begun, anonymous = time.monotonic(), 0
    with subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        resident = 0
        while process.poll() is None:
            found = _status(process.pid)
            anonymous, resident = max(anonymous, found.get("RssAnon", 0)), max(resident, found.get("VmHWM", 0))
            time.sleep(INTERVAL)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}: exit code {process.returncode}")
    return time.monotonic() - begun, anonymous / 1e6, resident / 1e6


def _status(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has ended
        return {}
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.endswith(" kB")}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the volume and the study")
    parser.add_argument("--side", type=int, default=512, help="rows and columns (default %(default)s)")
    parser.add_argument("--slices", type=int, default=1000, help="slices (default %(default)s)")
    parser.add_argument("--learner", default="unet", help="learner or preset, with settings after slashes")
    parser.add_argument("--steps", type=int, default=20, help="training steps (default %(default)s)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", metavar="NAME", help="only the stages whose name has this text")
    options = parser.parse_args()
    options.out = options.out.resolve()
    study = make_study(options)
    place = {"study": str(study), "device": options.device}
    program = ["-m", "ActiveSegmentationLib"]
    predict = [*program, "predict", str(study), "--device", options.device, "--out"]
    stages = {
        "prepare slices": ["-c", PREPARE.format(**place)],
        "load the model": ["-c", LOAD.format(**place)],
        "predict labels": [*predict, str(options.out / f"{study.name}-labels")],
        "predict all, nii.gz": [*predict, str(options.out / f"{study.name}-nifti"), "--probabilities", "--uncertainty"],
        "evaluate": [*program, "evaluate", str(study), "--device", options.device],
        "worker: predict": ["-c", WORKER.format(**place)],
    }
    model = 0.0
    print(f"{options.side} x {options.side} x {options.slices}, learner {options.learner}, {options.device}")
    print(f"{'':22} {'seconds':>8} {'anonymous GB':>13} {'resident GB':>12} {'without the model':>17}", flush=True)
    for name, words in stages.items():
        if options.only not in name and name not in ("prepare slices", "load the model"):
            continue
        if name == "load the model":
            annotate_and_train(study, options)
        seconds, anonymous, resident = measured(words)
        model = anonymous if name == "load the model" else model
        extra = f"{anonymous - model:17.2f}" if name not in ("prepare slices", "load the model") else ""
        print(f"{name:22} {seconds:8.1f} {anonymous:13.2f} {resident:12.2f} {extra}", flush=True)


if __name__ == "__main__":
    main()
