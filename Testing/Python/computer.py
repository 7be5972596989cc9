"""What the last digits of computed numbers depend on."""

from __future__ import annotations

import platform
from pathlib import Path

import torch


def computer() -> str:
    """The kind of CPU, what torch uses of it, and torch's version."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor()
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, torch {torch.__version__}"
