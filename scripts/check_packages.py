#!/usr/bin/env python3
"""The packages of the tests: known vulnerabilities, a list for others (SBOM), and the lock with their hashes.

    python scripts/check_packages.py                     # known vulnerabilities; needs pip-audit and a network
    python scripts/check_packages.py --sbom sbom.json    # also a list of all packages, CycloneDX
    python scripts/check_packages.py --lock              # resolve again, and write scripts/lock.txt

Exit code 1 if a vulnerability is known. What could not be looked up is named.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import platform
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "scripts" / "lock.txt"
ALL = "all packages"
"""Stands for the name of a package where no package was looked up."""

_LINE = re.compile(r"(?P<name>[\w.-]+)==(?P<version>\S+) --hash=sha256:(?P<sha256>[0-9a-f]{64})")
_HEADER = """\
# What the tests have passed with, to the byte: {system}. Made by: python scripts/check_packages.py --lock
# How to install exactly these files: docs/reliability.md
"""


@dataclass(frozen=True)
class Package:
    """One installed file of a package: its name, version and SHA-256."""

    name: str
    version: str
    sha256: str


def read_lock() -> list[Package]:
    """The packages of the lock."""
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    found = [_LINE.fullmatch(line) for line in lines if not line.startswith("#")]
    return [Package(**match.groupdict()) for match in found if match is not None]


def write_lock() -> None:
    """Let pip resolve the tests' packages, and write what it would install."""
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.json"
        words = ("install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(report))
        constraints = ("-c", str(ROOT / "scripts" / "constraints.txt"))
        subprocess.run([sys.executable, "-m", "pip", *words, *constraints, f"{ROOT}[test]"], check=True, cwd=ROOT)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    LOCK.write_text(lock_of(found), encoding="utf-8")


def lock_of(install: Sequence[dict[str, Any]]) -> str:
    """The lock for the files in pip's report; the package itself has no file."""
    system = f"{platform.system()} {platform.machine()}, Python {'.'.join(platform.python_version_tuple()[:2])}"
    lines = []
    for item in install:
        hashes = item["download_info"].get("archive_info", {}).get("hashes", {})
        if hashes:
            name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
            lines.append(f"{name}=={item['metadata']['version']} --hash=sha256:{hashes['sha256']}\n")
    return _HEADER.format(system=system) + "".join(sorted(lines))


def sbom(packages: Sequence[Package]) -> dict[str, Any]:
    """The packages as a CycloneDX 1.6 document."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{package.name}@{package.version}",
            "name": package.name,
            "version": package.version,
            "purl": f"pkg:pypi/{package.name}@{package.version}",
            "hashes": [{"alg": "SHA-256", "content": package.sha256}],
        }
        for package in packages
    ]
    about = {"component": {"type": "library", "bom-ref": "activesegmentation", "name": "activesegmentation"}}
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "metadata": about, "components": components}


def vulnerabilities() -> tuple[list[str], list[str]]:
    """Known vulnerabilities, and what could not be looked up with the reason, one text each."""
    if importlib.util.find_spec("pip_audit") is None:
        return [], [f"{ALL}: pip-audit is not installed (python -m pip install pip-audit)"]
    words = ("--require-hashes", "--disable-pip", "--format", "json", "--progress-spinner", "off", "-r", str(LOCK))
    done = subprocess.run([sys.executable, "-m", "pip_audit", *words], capture_output=True, text=True, check=False)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return [], [f"{ALL}: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}"]
    known = [f"{d['name']} {d['version']}: {v['id']}" for d in found for v in d.get("vulns", [])]
    return known, [f"{d['name']}: {d['skip_reason']}" for d in found if "skip_reason" in d]


def main(words: Sequence[str]) -> int:
    """Do what the options say and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lock", action="store_true", help="resolve again, and write scripts/lock.txt")
    parser.add_argument("--sbom", type=Path, metavar="FILE", help="write a list of all packages (CycloneDX, JSON)")
    options = parser.parse_args(words)
    if options.lock:
        write_lock()
    packages = read_lock()
    if options.sbom is not None:
        options.sbom.write_text(json.dumps(sbom(packages), indent=1) + "\n", encoding="utf-8")
    known, skipped = vulnerabilities()
    print("\n".join([*known, *(f"skipped: {text}" for text in skipped)]))
    missed = len(packages) if any(text.startswith(ALL) for text in skipped) else len(skipped)
    print(f"{len(packages)} packages, {len(known)} known vulnerabilities, {missed} not looked up.")
    return int(bool(known))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
