"""Experiments: comparisons of strategies with simulated annotators, their runs, tables and reports."""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.experiment.annotators import Annotator, OracleAnnotator, answer_requests
    from ActiveSegmentationLib.experiment.benchmark import AnnotatorFactory, Benchmark, Plan
    from ActiveSegmentationLib.experiment.design import Design
    from ActiveSegmentationLib.experiment.initial_sets import read_initial_sets
    from ActiveSegmentationLib.experiment.measured_time import measured_costs
    from ActiveSegmentationLib.experiment.protocol import check_rounds, parse_rounds
    from ActiveSegmentationLib.experiment.protocol_arms import ExperimentOptions, chosen_arms, require_learners
    from ActiveSegmentationLib.experiment.protocol_files import Protocol, find_protocol, protocol_names, read_protocol
    from ActiveSegmentationLib.experiment.protocol_run import run_experiment
    from ActiveSegmentationLib.experiment.protocol_text import list_rows, list_text, show_json, show_text
    from ActiveSegmentationLib.experiment.reporting import Outcome, write_outcome
    from ActiveSegmentationLib.experiment.run import Run
    from ActiveSegmentationLib.experiment.service import BenchmarkOptions, check_request, run_benchmark, run_demo
    from ActiveSegmentationLib.experiment.tracking import require_tracker
    from ActiveSegmentationLib.experiment.workers import Workers
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
