"""What the Extensions Manager and the index need: complete file lists, literal metadata, pictures that exist."""

from __future__ import annotations

import ast
import json
import re
import struct
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from ActiveSegmentationLib.common.defaults import DEFAULT_STRATEGY

ROOT = Path(__file__).parents[3]
MODULE, LIBRARY = ROOT / "ActiveSegmentation", ROOT / "ActiveSegmentationLib"
RAW = "https://raw.githubusercontent.com/ActiveSegmentation/SlicerActiveSegmentation/main/"
SHIPPED = {"numpy", "scipy", "simpleitk"}
"""Distributions that Slicer ships."""

NOT_IN_SLICER = {"jinja2", "matplotlib", "scikit-image", "tqdm"}
"""Distributions that nothing in Slicer needs, see ``worker/test_worker_requirements.py``."""

METADATA = ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
LINE_ENDS = (
    "CMakeLists.txt",
    "ActiveSegmentation/CMakeLists.txt",
    "ActiveSegmentationLib/CMakeLists.txt",
    "Testing/CMakeLists.txt",
    "Resources/ActiveSegmentation.json",
)


def listed(folder: Path, kind: str) -> list[str]:
    """Files that a CMakeLists.txt names in its set() call for "SCRIPTS" or "RESOURCES"."""
    text = (folder / "CMakeLists.txt").read_text(encoding="utf-8")
    text = text.replace("${MODULE_NAME}", folder.name)
    (body,) = re.findall(rf"set\(MODULE_PYTHON_{kind}\s(.*?)\)", text, re.DOTALL)
    return body.split()


def present(folder: Path) -> set[str]:
    """Files of a folder that belong into the package."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in files if path.name != "CMakeLists.txt"}


def metadata(name: str) -> str:
    """Value of an extension's metadata, found as the index finds it: one literal, quoted set() call."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    found = re.findall(rf'^set\(EXTENSION_{name}\s+"([^"$]*)"\)$', text, re.MULTILINE)
    assert len(found) == 1, (name, found)
    return found[0]


@pytest.mark.parametrize("folder", [MODULE, LIBRARY], ids=lambda folder: folder.name)
def test_every_file_is_listed_and_every_listed_file_is_there(folder):
    scripts, resources = listed(folder, "SCRIPTS"), listed(folder, "RESOURCES")
    assert len(set(scripts + resources)) == len(scripts + resources)
    assert set(scripts) == {name for name in present(folder) if name.endswith(".py")}
    assert set(resources) == {name for name in present(folder) if not name.endswith(".py")}


def test_pip_and_slicer_package_the_same_data():
    found = set()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for package, patterns in project["tool"]["setuptools"]["package-data"].items():
        folder = ROOT / package.replace(".", "/")
        found.update(path.relative_to(LIBRARY).as_posix() for pattern in patterns for path in folder.glob(pattern))
    assert found == set(listed(LIBRARY, "RESOURCES"))


def test_scripts_that_ctest_runs_in_slicer_are_there():
    text = (ROOT / "Testing" / "CMakeLists.txt").read_text(encoding="utf-8")
    scripts = re.findall(r"slicer_add_python_test\(SCRIPT (\S+?)[\s)]", text)
    assert scripts
    assert all((ROOT / "Testing" / script).is_file() for script in scripts), scripts


@pytest.mark.parametrize("name", METADATA)
def test_metadata_are_literals(name):
    assert metadata(name)


def test_project_is_named_as_its_index_entry():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert re.search(r"^project\(ActiveSegmentation\)$", text, re.MULTILINE)
    assert (ROOT / "Resources" / "ActiveSegmentation.json").is_file()


def test_licence_is_ours():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert 'set(EXTENSION_LICENSE_FILE "${CMAKE_CURRENT_SOURCE_DIR}/LICENSE")' in text
    assert "Apache License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", LINE_ENDS)
def test_line_ends(name):
    data = (ROOT / name).read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"\n")


def test_index_entry():
    entry = json.loads((ROOT / "Resources" / "ActiveSegmentation.json").read_text(encoding="utf-8"))
    allowed = {"$schema", "build_dependencies", "build_subdirectory", "category", "dicom_support_rule", "enabled"}
    assert set(entry) <= allowed | {"scm_revision", "scm_type", "scm_url", "tier"}
    assert {"$schema", "category", "scm_url"} <= set(entry)
    assert entry["$schema"].endswith("/slicer-extension-catalog-entry-schema-v1.0.2.json#")
    assert entry["tier"] in range(1, 6)
    assert entry["category"] == metadata("CATEGORY") == "Active Learning"
    assert entry["build_dependencies"] == metadata("DEPENDS").split()
    assert re.fullmatch(r"https://github\.com/\w+/Slicer\w+\.git", entry["scm_url"])


def test_pictures_named_by_url_are_in_the_repository():
    urls = [metadata("ICONURL"), *metadata("SCREENSHOTURLS").split()]
    assert len(urls) >= 2
    for url in urls:
        assert url.startswith(RAW)
        assert (ROOT / url.removeprefix(RAW)).read_bytes().startswith(b"\x89PNG"), url


def test_icons_are_alike_and_of_the_size_slicer_wants():
    icons = MODULE / "Resources" / "Icons"
    for path in icons.glob("*.png"):
        assert struct.unpack(">II", path.read_bytes()[16:24]) == (128, 128), path.name
    assert (icons / "ActiveSegmentation.png").read_bytes() == (ROOT / "Resources/ActiveSegmentation.png").read_bytes()
    drawing = ET.parse(icons / "ActiveSegmentation.svg").getroot()  # what Slicer takes where both are there
    assert drawing.get("viewBox") == "0 0 128 128"


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """All that runs when a file is imported: everything but what functions do."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield child
            yield from run_at_import(child)


def test_module_imports_nothing_unusual_at_file_scope():
    tree = ast.parse((MODULE / "ActiveSegmentation.py").read_text(encoding="utf-8"), feature_version=(3, 12))
    names = set()
    for node in run_at_import(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add((node.module or "").partition(".")[0])
    assert "slicer" in names
    assert names <= {*sys.stdlib_module_names, "slicer", "qt", "vtk", "numpy", "SimpleITK", "ActiveSegmentationLib"}


def test_the_module_has_the_librarys_default_strategy():
    """The module may not import the library at file scope, so it spells the name out."""
    source = (MODULE / "ActiveSegmentation.py").read_text(encoding="utf-8")
    assert source.count(f'"{DEFAULT_STRATEGY}"') == 2
    assert f'Default("{DEFAULT_STRATEGY}")' in source


def test_requirements_cover_the_library_and_pin_nothing():
    lines = (MODULE / "Resources" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = {re.split(r"[<>=!~ ]", line)[0].lower() for line in lines if line and not line.startswith("#")}
    assert not [line for line in lines if "==" in line]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = {re.split(r"[<>=!~ ]", line)[0].lower() for line in project["dependencies"]}
    assert wanted == needed - SHIPPED - {"torch", "click"} - NOT_IN_SLICER


def test_widgets_that_panels_use_are_in_the_ui_file():
    ui = ET.parse(MODULE / "Resources" / "UI" / "ActiveSegmentation.ui")
    known = {widget.get("name") for widget in ui.iter("widget")}
    used: dict[str, str] = {}
    for path in (LIBRARY / "panels").glob("*.py"):
        for name in re.findall(r"\bui\.(\w+)", path.read_text(encoding="utf-8")):
            used[name] = path.name
    missing = {name: file for name, file in used.items() if name not in known}
    assert len(used) > 40
    assert not missing


def test_parameters_named_in_the_ui_file_exist():
    ui = ET.parse(MODULE / "Resources" / "UI" / "ActiveSegmentation.ui")
    named = {p.findtext("string") for p in ui.iter("property") if p.get("name") == "SlicerParameterName"}
    tree = ast.parse((MODULE / "ActiveSegmentation.py").read_text(encoding="utf-8"))
    wrapper = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name.endswith("ParameterNode"))
    fields = {node.target.id for node in wrapper.body if isinstance(node, ast.AnnAssign)}
    assert named
    assert named <= fields


def test_sample_data_are_complete():
    cohorts = json.loads((MODULE / "Resources" / "SampleData.json").read_text(encoding="utf-8"))["cohorts"]
    for cohort in cohorts:
        assert set(cohort) == {"name", "fileName", "uri", "checksum", "thumbnail", "licence", "source"}
        assert cohort["uri"].startswith("https://")
        algorithm, _, digest = cohort["checksum"].partition(":")
        assert len(digest) == {"SHA256": 64, "MD5": 32}[algorithm]
        assert (MODULE / "Resources" / "Icons" / cohort["thumbnail"]).is_file()
