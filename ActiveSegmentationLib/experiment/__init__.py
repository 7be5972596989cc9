"""Comparisons of strategies with simulated annotators: protocols, runs, sweeps, reports."""

from ActiveSegmentationLib.experiment.annotators import Annotator, OracleAnnotator
from ActiveSegmentationLib.experiment.benchmark import AnnotatorFactory, Benchmark, Plan
from ActiveSegmentationLib.experiment.initial_sets import read_initial_sets
from ActiveSegmentationLib.experiment.protocol import check_rounds, parse_rounds
from ActiveSegmentationLib.experiment.reporting import Outcome, write_outcome
from ActiveSegmentationLib.experiment.run import Design, Run
from ActiveSegmentationLib.experiment.service import BenchmarkOptions, check_request, run_benchmark, run_demo

__all__ = [
    "Annotator",
    "AnnotatorFactory",
    "Benchmark",
    "BenchmarkOptions",
    "Design",
    "OracleAnnotator",
    "Outcome",
    "Plan",
    "Run",
    "check_request",
    "check_rounds",
    "parse_rounds",
    "read_initial_sets",
    "run_benchmark",
    "run_demo",
    "write_outcome",
]
