"""Reports what is installed and which device is used, without importing torch."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from ActiveSegmentationLib.loop import versions

NEEDED_FOR = {
    "click": "the command line",
    "filelock": "locking studies",
    "jinja2": "the report of a benchmark",
    "matplotlib": "the pictures of a benchmark",
    "monai": "networks and losses",
    "nibabel": "reading NIfTI",
    "numpy": "everything",
    "pillow": "pictures",
    "pydantic": "settings of studies and benchmarks",
    "pydicom": "reading DICOM",
    "safetensors": "storing models",
    "scikit-image": "drawing scribbles from masks",
    "scikit-learn": "strategies that cluster, and the map of slices",
    "scipy": "everything",
    "SimpleITK": "reading and writing images",
    "torch": "training, predicting and most strategies",
    "tqdm": "progress bars",
}
"""The packages that ``pyproject.toml`` requires, and what they are needed for."""

OPTIONAL = {
    "highdicom": "reading DICOM segmentations (SEG)",
    "distributed": "experiments on a cluster",
    "dask-jobqueue": "experiments on a job queue",
    "tensorboard": "experiments shown in TensorBoard",
    "mlflow-skinny": "experiments shown in MLflow",
}

NVIDIA_QUERY = ("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")


def report_of(device: str) -> dict[str, Any]:
    """Versions, what is missing, the device and the free disk, as JSON values.

    Args:
        device: "auto", or a torch device; then torch is imported to check it.

    Raises:
        BadInput: If there is no such device.
    """
    found = versions() | {name: _version(name) for name in (*NEEDED_FOR, *OPTIONAL)}
    missing = sorted(name for name in NEEDED_FOR if found[name] is None)
    return {
        "versions": found,
        "missing": missing,
        "device": None if "torch" in missing else _device(device),
        "processors": os.cpu_count(),
        "free disk (GB)": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "executable": sys.executable,
    }


def report_text(report: Mapping[str, Any]) -> str:
    """The report as text, one line per entry."""
    lines = []
    for name, version in report["versions"].items():
        use = NEEDED_FOR.get(name, "") if version is None else ""
        absent = f"MISSING: needed for {use}" if use else "not installed (optional)"
        if name in OPTIONAL and version is None:
            absent = f"not installed; only needed for {OPTIONAL[name]}"
        lines.append(f"{name:20} {version or absent}")
    lines.append(f"{'device':20} {report['device'] or 'unknown without torch'}")
    lines.append(f"{'processors':20} {report['processors']}")
    lines.append(f"{'free disk here':20} {report['free disk (GB)']:.1f} GB")
    return "\n".join(lines)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _device(name: str) -> str:
    """The device in words; "auto" without importing torch, which takes seconds."""
    if name != "auto":
        from ActiveSegmentationLib.loop import describe_device, resolve_device

        return describe_device(resolve_device(name))
    if _has_apple_gpu():
        return "Apple GPU (MPS), or the CPU where PyTorch cannot train on it"
    return (_graphics_card() if _torch_has_cuda() else None) or "CPU"


def _has_apple_gpu() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _torch_has_cuda() -> bool:
    """Whether the installed torch was built for NVIDIA GPUs, according to its file version.py."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return False
    text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    return re.search(r"^cuda\b.*= *['\"]", text, re.MULTILINE) is not None


def _graphics_card() -> str | None:
    """Name and memory of the first NVIDIA GPU, from its driver; None if there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    done = subprocess.run([program, *NVIDIA_QUERY], capture_output=True, text=True, check=False)
    name, separator, mebibytes = done.stdout.partition("\n")[0].rpartition(", ")
    if done.returncode != 0 or not separator or not mebibytes.strip().isdecimal():
        return None
    return f"{name}, {int(mebibytes) / 1024:.0f} GB"
