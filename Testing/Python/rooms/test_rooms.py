"""The architecture: which room may import which (the table of the design), and what stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "ActiveSegmentationLib"
ROOT = Path(__file__).parents[3]
LIBRARY = ROOT / PACKAGE

LOOP = {"common", "cohort", "study", "training", "embedding", "segmentation", "uncertainty", "acquisition"}
LOOP |= {"evaluation"}
MAY_IMPORT = {
    "common": {"common"},
    "cohort": {"common", "cohort"},
    "study": {"common", "cohort", "study"},
    "training": {"common", "training"},
    "embedding": {"common", "cohort", "training", "embedding"},
    "segmentation": {"common", "cohort", "study", "training", "segmentation"},
    "uncertainty": {"common", "cohort", "study", "segmentation", "uncertainty"},
    "acquisition": {"common", "cohort", "embedding", "uncertainty", "acquisition"},
    "evaluation": {"common", "evaluation"},
    "loop": LOOP | {"loop"},
    "experiment": LOOP | {"loop", "experiment"},
    "cli": LOOP | {"loop", "experiment", "cli", "api"},
    "worker": LOOP | {"loop", "worker"},
    "scene": {"common", "cohort", "study", "worker", "scene"},
    "panels": {"common", "cohort", "study", "worker", "scene", "panels"},
}
CLIENT = {"worker.client", "worker.protocol"}
HEAVY = (
    "torch",
    "sklearn",
    "monai",
    "matplotlib",
    "dask",
    "distributed",
    "skimage",
    "tqdm",
    "filelock",
    "jinja2",
    "safetensors",
    "pydantic",
)
LIGHT_ROOMS = ("common", "cohort", "study")


def imports_of(path: Path) -> set[str]:
    """Every module a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room is meant"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def rooms_imported_by(path: Path) -> set[str]:
    parts = (name.split(".") for name in imports_of(path))
    return {part[1] for part in parts if part[0] == PACKAGE and len(part) > 1 and part[1] != "__version__"}


def test_every_folder_is_a_room_of_the_table():
    folders = {path.name for path in LIBRARY.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(MAY_IMPORT)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_rooms_import_only_what_the_table_allows(room):
    for path in (LIBRARY / room).rglob("*.py"):
        too_many = rooms_imported_by(path) - MAY_IMPORT[room]
        assert not too_many, f"{path.relative_to(ROOT)} imports {sorted(too_many)}"


def test_the_public_functions_know_no_front():
    assert rooms_imported_by(LIBRARY / "api.py") <= LOOP | {"loop", "experiment"}


def test_the_user_interface_knows_the_worker_by_its_client_only():
    for room in ("scene", "panels"):
        for path in (LIBRARY / room).rglob("*.py"):
            worker = {name for name in imports_of(path) if name.startswith(f"{PACKAGE}.worker.")}
            assert all(name.split(".", 1)[1].startswith(tuple(CLIENT)) for name in worker), path
    client = imports_of(LIBRARY / "worker" / "client.py")
    own = {name for name in client if name.startswith(PACKAGE)}
    assert all(name.startswith((f"{PACKAGE}.worker", f"{PACKAGE}.common.signals")) for name in own), own


def test_the_check_sees_a_forbidden_import(tmp_path):
    file = tmp_path / "x.py"
    file.write_text(f"def f():\n    from {PACKAGE}.loop import suggest\n", encoding="utf-8")
    assert rooms_imported_by(file) - MAY_IMPORT["cohort"] == {"loop"}


@pytest.mark.parametrize("room", LIGHT_ROOMS)
def test_light_rooms_import_where_heavy_libraries_are_missing(room):
    modules = sorted(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (LIBRARY / room).rglob("*.py")
    )
    code = f"""
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is not installed in this test")

sys.meta_path.insert(0, Blocker())
for module in {modules!r}:
    importlib.import_module(module)
assert not set({HEAVY!r}) & set(sys.modules)
print(len({modules!r}))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(modules) > 2
