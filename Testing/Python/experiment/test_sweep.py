from __future__ import annotations

import dask
import pytest
from dask.multiprocessing import remote_exception

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.experiment.sweep import execute_in_processes


def test_an_error_of_another_process_comes_as_it_was_raised(monkeypatch):
    def fail(*_, **__):
        raise remote_exception(BadInput("It does not fit.", where="rounds"), "Traceback of the other process")

    monkeypatch.setattr(dask, "compute", fail)
    with pytest.raises(BadInput) as caught:
        execute_in_processes([], 2, Progress())
    assert type(caught.value) is BadInput
    assert str(caught.value) == "rounds: It does not fit."
