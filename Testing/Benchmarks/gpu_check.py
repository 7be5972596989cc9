"""Compare every stage on the CPU and on a CUDA GPU: equal results, no waits in hot loops, memory, steps a second.

It needs no network and takes eight minutes at most. First prepare a slice stack, here, where the images are:

    python Testing/Benchmarks/gpu_check.py --prepare DATA/acdc --out gpu-check

Then, where the GPU is, with torch, numpy and scikit-learn installed:

    python Testing/Benchmarks/gpu_check.py --stack gpu-check --wheels gpu-wheels --out gpu-check-results

``--wheels`` names a folder with the wheels of further packages that are missing there, such as

    pip download --only-binary=:all: --python-version 3.12 -d gpu-wheels pydantic safetensors filelock
    pip download --no-deps -d gpu-wheels monai

Without a GPU only the CPU's columns are filled. The exit code is 1 if a result differs by more than its tolerance, a
hot loop waits for the GPU, or a stage fails.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[2]

if TYPE_CHECKING:
    from gpu_stages import Outcome, Part, World

NEEDED = ("torch", "numpy", "scipy", "sklearn", "pydantic", "safetensors", "filelock", "monai")
"""Modules that the stages import."""

VERSIONS = ("torch", "numpy", "monai")

PAPER = "40 slices a second on a V100 (Vepa et al. 2024)"


@dataclass
class Row:
    """What became of one stage.

    Attributes:
        stage: Its name.
        state: "ok", "no CUDA device", "differs", "waits", "failed" or "skipped".
        difference: Largest difference between the devices, see ``tolerance``.
        tolerance: Largest difference that is allowed.
        steps: Steps a second by device.
        items: Slices a second by device.
        waits: Waits for the GPU in a step, by place in the code.
        peak_mb: Largest memory allocated on the GPU.
        seconds: Time that the stage took.
        note: What else there is to say.
    """

    stage: str
    state: str = "skipped"
    difference: float | None = None
    tolerance: float | None = None
    steps: dict[str, float | None] = field(default_factory=dict)
    items: dict[str, float | None] = field(default_factory=dict)
    waits: dict[str, float] = field(default_factory=dict)
    peak_mb: int | None = None
    seconds: float = 0.0
    note: str = ""


def main(words: Sequence[str] | None = None) -> int:
    """Prepare a stack, or check the stages and write the table; returns the exit code."""
    options = parsed(words)
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    if options.prepare:
        print(f"Prepared {prepare(options)}")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        if options.wheels:
            unpack(options.wheels, Path(folder))
        missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
        if missing:
            raise SystemExit(f"error: Not installed: {', '.join(missing)}. Bring their wheels, see --wheels.")
        return check(options)


def parsed(words: Sequence[str] | None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    task = parser.add_mutually_exclusive_group(required=True)
    task.add_argument("--prepare", type=Path, metavar="COHORT", help="prepare slices of this cohort")
    task.add_argument("--stack", type=Path, metavar="DIR", help="folder that --prepare wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder of the stack, or of the results")
    parser.add_argument("--size", type=int, default=212, help="rows and columns of a slice (%(default)s, the paper's)")
    parser.add_argument("--slices", type=int, default=300, help="most slices that are prepared (%(default)s)")
    parser.add_argument("--wheels", type=Path, metavar="DIR", help="folder with wheels of missing packages")
    parser.add_argument("--minutes", type=float, default=7.5, help="time after which no stage begins (%(default)s)")
    parser.add_argument("--seconds", type=float, default=3.0, help="time to measure a speed (%(default)s)")
    parser.add_argument("--only", metavar="STAGE,...", help="stages to check, as the table names them")
    return parser.parse_args(words)


def prepare(options: argparse.Namespace) -> Path:
    """Prepare slices of the first volumes of a cohort; returns the stack's folder."""
    from ActiveSegmentationLib.cohort import StackSettings, build_stack, discover

    cohort = discover(options.prepare)
    volumes, count = [], 0
    for volume in cohort.volumes:
        if volumes and count + volume.slice_count > options.slices:
            break
        volumes.append(volume)
        count += volume.slice_count
    settings = StackSettings(size=(options.size, options.size), crop=True)
    return build_stack(replace(cohort, volumes=tuple(volumes)), settings, options.out).folder


def unpack(wheels: Path, folder: Path) -> None:
    """Make the packages of wheels importable, those that fit this Python.

    Raises:
        SystemExit: If pip cannot unpack them.
    """
    names = sorted({path.name.partition("-")[0] for path in wheels.glob("*.whl")})
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
    code = subprocess.call([*pip, "--find-links", str(wheels), "--target", str(folder), *names])
    if code or not names:
        raise SystemExit(f"error: {wheels} has no wheels for Python {platform.python_version()}, see above.")
    sys.path.insert(0, str(folder))


def check(options: argparse.Namespace) -> int:
    """Run the stages, and write table and JSON after each; returns the exit code."""
    import torch
    from gpu_stages import PARTS, World

    from ActiveSegmentationLib.cohort import SliceStack

    found = sorted(path.parent for path in options.stack.rglob("stack.json"))
    if len(found) != 1:
        raise SystemExit(f"error: {options.stack} has {len(found)} prepared stacks, and one is needed, see --prepare.")
    wanted = options.only.split(",") if options.only else list(PARTS)
    if unknown := set(wanted) - set(PARTS):
        raise SystemExit(f"error: There is no stage {', '.join(sorted(unknown))}. Choose from: {', '.join(PARTS)}.")
    world = World(SliceStack(found[0]), options.seconds)
    device = "cuda" if torch.cuda.is_available() else None
    begun, rows = time.monotonic(), []
    options.out.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        late = time.monotonic() - begun > 60 * options.minutes
        row = Row(name, note="out of time") if late else run(name, PARTS[name], world, device)
        rows.append(row)
        print(f"{name}: {row.state} ({row.seconds:.1f} s) {row.note}", flush=True)
        write(options.out, rows, world, device, time.monotonic() - begun)
    print((options.out / "gpu_check.txt").read_text(encoding="utf-8"))
    return int(any(row.state not in ("ok", "no CUDA device") for row in rows))


def run(name: str, part: Part, world: World, device: str | None) -> Row:
    """One stage, on the CPU and on the GPU if there is one; a failure is a row too."""
    row, begun = Row(name, tolerance=part.tolerance), time.monotonic()
    outcomes: dict[str, Outcome] = {}
    try:
        for each in ("cpu", device) if device else ("cpu",):
            if each == device:
                import torch

                torch.cuda.reset_peak_memory_stats(device)
            outcomes[each] = part.run(world, each)
            if each == device:
                row.peak_mb = round(torch.cuda.max_memory_allocated(device) / 2**20)
    except Exception as error:  # noqa: BLE001 - it is in the table, and the other stages are worth their time
        row.state, row.note = "failed", f"{type(error).__name__}: {error}".partition("\n")[0]
    else:
        judge(row, part, outcomes, device)
    row.seconds = round(time.monotonic() - begun, 2)
    return row


def judge(row: Row, part: Part, outcomes: dict[str, Outcome], device: str | None) -> None:
    """Fill in a row from what the stage gave on each device."""
    import numpy as np

    last = outcomes[device or "cpu"]
    row.steps = {each: outcome.steps for each, outcome in outcomes.items()}
    row.items = {each: outcome.items for each, outcome in outcomes.items()}
    row.waits, row.note, row.state = last.waits, last.note, "ok" if device else "no CUDA device"
    if not np.isfinite(last.values).all():
        row.state, row.note = "failed", "the results are not finite"
    elif device:
        expected = outcomes["cpu"].values
        row.difference = float(np.abs(last.values - expected).max() / max(1.0, np.abs(expected).max()))
        if row.difference > part.tolerance:
            row.state = "differs"
        elif row.waits and not part.waits:
            row.state = "waits"


def write(folder: Path, rows: list[Row], world: World, device: str | None, seconds: float) -> None:
    """Write ``gpu_check.json`` and ``gpu_check.txt``."""
    about = described(world, device) | {"seconds": round(seconds, 1)}
    content = {"about": about, "stages": [asdict(row) for row in rows]}
    (folder / "gpu_check.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (folder / "gpu_check.txt").write_text(table(about, rows, device), encoding="utf-8")


def described(world: World, device: str | None) -> dict[str, Any]:
    """Computer, versions and slices."""
    from importlib.metadata import version

    from ActiveSegmentationLib.loop.device import describe_device

    rows, columns = world.stack.grid_shape
    return {
        "GPU": describe_device(device) if device else "no CUDA device",
        "CPU": describe_device("cpu"),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}},
        "slices": f"{len(world.stack)} of {rows} x {columns} pixels",
        "paper": PAPER,
    }


def table(about: dict[str, Any], rows: list[Row], device: str | None) -> str:
    """The results as text, a line for each stage."""
    head = (
        "stage",
        "state",
        "difference",
        "tolerance",
        "steps/s CPU",
        "GPU",
        "slices/s CPU",
        "GPU",
        "waits",
        "peak MB",
    )
    lines = [head]
    for row in rows:
        speeds = [number(found.get(each)) for found in (row.steps, row.items) for each in ("cpu", device or "-")]
        waits = number(sum(row.waits.values())) if device and row.steps else "-"
        lines.append(
            (row.stage, row.state, number(row.difference), number(row.tolerance), *speeds, waits, number(row.peak_mb))
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    notes = [f"{row.stage}: {row.note}" for row in rows if row.note]
    notes += [
        f"{row.stage}: waits at {place}, {count:.2g} a step" for row in rows for place, count in row.waits.items()
    ]
    return "\n".join([*(f"{name}: {value}" for name, value in about.items()), "", *text, "", *notes, ""])


def number(value: float | None) -> str:
    """A number to three digits, "-" for none."""
    return "-" if value is None else f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
