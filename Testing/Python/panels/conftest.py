"""The module in the test host, for tests of its panels."""

from __future__ import annotations

import pytest
from host import missingPackages
from host.conftest import host, pytest_pycollect_makemodule  # noqa: F401 - fixtures and hook of this folder too
from module.conftest import module  # noqa: F401

from ActiveSegmentationLib.cohort import SliceId, write_phantom
from ActiveSegmentationLib.study import Request, RequestList

if not missingPackages():  # the tests import panels, which import what Slicer has
    from host.host import start

    start()

SLICES, SIZE = 5, (40, 40)


@pytest.fixture(scope="session")
def cohort(tmp_path_factory):
    """Folder of a small cohort; tests must not change it."""
    root = tmp_path_factory.mktemp("panels") / "cohort"
    write_phantom(root, patients=2, slices=SLICES, size=SIZE, scribbles=False)
    return root


@pytest.fixture
def asked(module, cohort, tmp_path):  # noqa: F811
    """The module with a study and four requests, none of them open."""
    with module.withoutWorker():
        study = module.logic.createStudy(tmp_path / "study", cohort)
    requests = [
        Request(SliceId(v.id, k), v.patient, v.axis, None, "no slice of this patient is annotated yet")
        for v in study.cohort.volumes[:2]
        for k in (1, 3)
    ]
    study.requests.write(RequestList(study.requests.next_round(), "strided", 0, {}, tuple(requests)))
    module.session.refresh()
    module.settle()
    return module


@pytest.fixture
def drawing(asked):
    """The first request is open."""
    asked.session.openRequest(1)
    asked.settle()
    return asked
