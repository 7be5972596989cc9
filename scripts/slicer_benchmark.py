"""The benchmark of the command line inside Slicer: simulated annotations are drawn and captured as a clinician's are.

    Slicer --no-splash --no-main-window --python-script scripts/slicer_benchmark.py -- --cohort C --strategies A,B ...
    Slicer ... scripts/slicer_benchmark.py -- experiment run gaillochet-main --cohort C --scale small --out DIR

Options, exit codes and numbers are those of ``activesegmentation benchmark`` and ``activesegmentation experiment run``.
Without Slicer, run it as ``python scripts/slicer_benchmark.py --cohort C ...`` with Slicer's scene from the package
``slicer-core``.
"""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ActiveSegmentationLib.cli.command import Options
    from ActiveSegmentationLib.cohort import AnnotationKind, SliceStack
    from ActiveSegmentationLib.experiment import Annotator, BenchmarkOptions

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = "slicer_benchmark.py"
DESCRIPTION = (
    "Compare strategies by simulated annotation of a cohort with reference labels. Every annotation is drawn into a "
    "segmentation in Slicer's scene and captured from there."
)
EPILOG = (
    "Exit code 0: done; 1: the work failed; 2: the input cannot be used; 130: interrupted. There is one scene, and "
    "processes cannot share it: --workers must be 1, more are refused with exit code 2. An --out folder of "
    "'activesegmentation benchmark' with the same options can be continued here, and the other way round. "
    "'experiment run NAME ...' runs a protocol as 'activesegmentation experiment run' does."
)

PACKAGES = ("click", "jinja2", "matplotlib", "scikit-image", "tqdm")
"""What a benchmark needs in addition to what the module Active Segmentation installs."""


def main(words: Sequence[str]) -> int:
    """Run the benchmark with the given command-line words and return the exit code."""
    try:
        if importlib.util.find_spec("ActiveSegmentationLib") is None:
            sys.path.insert(0, str(ROOT))
        given = list(words[1:] if words[:1] == ["--"] else words)
        if given[:2] == ["experiment", "run"]:
            experiment(given)
        else:
            benchmark(given)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("cancelled: finished work is kept; run the same command to continue.", file=sys.stderr)
        return 130
    except BaseException as error:  # noqa: BLE001 - Slicer would keep running
        return report(error)
    return 0


def benchmark(words: Sequence[str]) -> None:
    """Run the benchmark and print its outcome.

    Raises:
        ActiveSegmentationError: If the input cannot be used, or the work failed.
    """
    from ActiveSegmentationLib.cli.experiment_commands import benchmark as plain
    from ActiveSegmentationLib.cli.experiment_commands import benchmark_options, show_outcome
    from ActiveSegmentationLib.cli.options import progress_of
    from ActiveSegmentationLib.experiment import run_benchmark

    parsed = parse(PROGRAM, plain.params, words)
    with closing(progress_of(parsed)) as progress:
        options = benchmark_options(parsed, progress)
        options = replace(options, command=" ".join([PROGRAM, *words]))
        outcome = run_benchmark(options, progress, annotator=annotatorFactory(options))
    show_outcome(outcome, parsed)


def experiment(words: Sequence[str]) -> None:
    """Run a protocol and print its outcome; the words begin with ``experiment run``.

    Raises:
        ActiveSegmentationError: If the input cannot be used, or the work failed.
    """
    from ActiveSegmentationLib.cli.experiment_commands import show_outcome
    from ActiveSegmentationLib.cli.options import progress_of
    from ActiveSegmentationLib.cli.protocol_commands import experiment_options, run_protocol
    from ActiveSegmentationLib.experiment import run_experiment

    parsed = parse(f"{PROGRAM} experiment run", run_protocol.params, words[2:])
    with closing(progress_of(parsed)) as progress:
        options = experiment_options(parsed, progress)
        options = replace(options, command=" ".join([PROGRAM, *words]))
        outcome = run_experiment(options, progress, annotator_of=annotatorFactory)
    show_outcome(outcome, parsed)


def parse(name: str, params: list[Any], words: Sequence[str]) -> Options:
    """The options of a command, in a scene; several processes are refused.

    Raises:
        BadInput: If other processes would have to draw.
    """
    from ActiveSegmentationLib.cli.command import Command, Options
    from ActiveSegmentationLib.common.errors import BadInput

    command = Command(name, params=params, help=DESCRIPTION, epilog=EPILOG)
    parsed = Options(**command.make_context(name, list(words)).params)
    if parsed.workers > 1 or parsed.scheduler or parsed.cluster:
        advice = "Use --workers 1, or the plain command, whose numbers are the same."
        raise BadInput("Several processes cannot draw into one scene.", where="workers", advice=advice)
    provideScene()
    return parsed


def annotatorFactory(options: BenchmarkOptions) -> Callable[[SliceStack, AnnotationKind], Annotator]:
    """Returns the function that creates the annotator, which draws the oracle's annotations into the scene."""
    from ActiveSegmentationLib.experiment import OracleAnnotator
    from ActiveSegmentationLib.scene.sceneAnnotator import SceneAnnotator
    from ActiveSegmentationLib.study import label_set_for

    @cache
    def make(stack: SliceStack, kind: AnnotationKind) -> Annotator:
        labels = label_set_for(options.cohort, options.labels)
        return SceneAnnotator(OracleAnnotator(stack, kind), options.cohort, labels)

    return make


def report(error: BaseException) -> int:
    """Print what went wrong, in one line if the error is expected, and return the exit code."""
    if isinstance(error, ModuleNotFoundError):
        packages = " ".join(PACKAGES)
        advice = f"in Slicer, type into the Python console: slicer.util.pip_install({packages!r})"
        print(f"error: The Python package '{error.name}' is missing; {advice}", file=sys.stderr)
        return 1
    import click

    from ActiveSegmentationLib.common.errors import ActiveSegmentationError
    from ActiveSegmentationLib.common.files import explain_os_error

    if isinstance(error, click.exceptions.Exit):  # after --help
        return error.exit_code
    if isinstance(error, click.ClickException):
        error.show()
        return error.exit_code
    known = explain_os_error(error, error.filename) if isinstance(error, OSError) else error
    if isinstance(known, ActiveSegmentationError):
        print(f"{known.kind}: {known}", file=sys.stderr)
        return known.exit_code
    traceback.print_exception(error)
    return 1


def provideScene() -> None:
    """Provide a scene in which segmentations can be drawn, also without Slicer, with its classes alone."""
    import slicer

    if hasattr(slicer, "app"):
        return
    slicer.mrmlScene = slicer.vtkMRMLScene()
    slicer.vtkSlicerSegmentationsModuleLogic().SetMRMLScene(slicer.mrmlScene)  # the scene learns the node classes


def leave(code: int) -> None:
    """End with an exit code; in Slicer, which would keep running, this returns and Slicer ends afterwards."""
    slicer: Any = sys.modules.get("slicer")
    if hasattr(slicer, "app"):
        slicer.util.exit(code)
    else:
        sys.exit(code)


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
