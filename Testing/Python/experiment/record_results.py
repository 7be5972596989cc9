"""A small comparison, a study and some trainings, as the folder ``recorded`` keeps them.

The folder was recorded from commit fcdf45f. To record it again from the present code, which is right only where results
are meant to change (the study and the comparison that the test opens are then no longer those of an older version):

    PYTHONPATH=.:Testing/Python python Testing/Python/experiment/record_results.py
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from computer import computer

from ActiveSegmentationLib.acquisition import Constraints
from ActiveSegmentationLib.cohort import AnnotationKind, Role, StackSettings, discover, with_roles, write_phantom
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.embedding import EmbeddingSettings, VaalSettings, train_vaal
from ActiveSegmentationLib.experiment import BenchmarkOptions, OracleAnnotator, run_benchmark
from ActiveSegmentationLib.loop import LoopSettings, StudyLoop
from ActiveSegmentationLib.loop.embeddings import Embeddings
from ActiveSegmentationLib.segmentation import TRAINING_PRESETS, TrainingTask, examples_from_annotations, fit_ensemble
from ActiveSegmentationLib.study import Draft, Study, label_set_for

RECORDED = Path(__file__).parent / "recorded"
STRATEGIES = (
    "random",
    "recommended",
    "entropy",
    "product:coreset+entropy",
    "group-contrastive-coreset",
    "sample-ratio",
    "learning-loss",
    "coregcn/steps=5",
    "clasp-pe",
    "foreground-random:marked",
)
SEVERAL = ("study", "benchmark", "cohort")


def settings(*features: int) -> LoopSettings:
    """Of slices of 24 x 24 pixels and trainings of some steps."""
    usual = LoopSettings(stack=StackSettings(spacing=6.0, size=(24, 24)))
    shape: dict[str, Any] = {"features": features, "dropout": (0.0, 0.1, 0.1), "decoder_dropout": (0.0, 0.1)}
    training = replace(usual.training, steps=40, batch_size=4, learning_rate=0.02, dice_share=0.8, **shape)
    return replace(usual, training=training, embedding=EmbeddingSettings(steps=3, width=8, batch_size=8))


def write_cohort(folder: Path) -> Path:
    """Three patients, two volumes each of four slices of 24 x 24 pixels."""
    return write_phantom(folder, patients=3, slices=4, size=(24, 24), scribbles=False)


def benchmark_options(cohort: Path, out: Path) -> BenchmarkOptions:
    """The comparison."""
    return BenchmarkOptions(
        cohort=with_roles(discover(cohort), {Role.TEST: ("patient003",)}),
        name="phantom",
        strategies=STRATEGIES,
        rounds="3,6",
        seeds=(1,),
        out=out,
        metrics=("dice",),
        marks=True,
        settings=settings(8, 8, 16),
        device="cpu",
    )


def make_study(cohort: Path, folder: Path) -> Study:
    """A study with two trained rounds, an open third one, and something of everything that a person may do."""
    found = discover(cohort)
    study = Study.create(
        folder, found, label_set_for(found, None), AnnotationKind.MASK, settings=settings(4, 4, 8).to_json()
    )
    loop = StudyLoop(study, device="cpu")
    _answer(loop, [request.slice for request in loop.suggest(4, "recommended").requests][:3])
    last = study.requests.read(1).requests[3].slice
    study.skip(last, "anna", "motion", round=1)
    study.flag(study.requests.read(1).requests[0].slice, "anna", "look again")
    study.extents.mark(found.volumes[1].id, 1, 2)
    loop.train()
    asked = loop.suggest(3, "bald/passes=3", seed=5, constraints=Constraints(max_per_volume=1, min_gap=2))
    _answer(loop, [request.slice for request in asked.requests])
    loop.train(steps=6)
    study.exclude(found.volumes[5].id, "broken")
    loop = StudyLoop(study, device="cpu")
    asked = loop.suggest(2, "coreset:pixels")
    planes = {segment: np.eye(24, dtype=bool) for segment in ("1",)}
    study.drafts.save(Draft(asked.requests[0].slice, AnnotationKind.MASK, planes, seconds=3.5), "anna")
    return study


def _answer(loop: StudyLoop, slices: list[Any]) -> None:
    number = max(loop.study.requests.rounds())
    answers = OracleAnnotator(loop.stack, AnnotationKind.MASK, name="anna").annotate(slices, number)
    loop.study.commit([replace(answer, seconds=10.0 + place) for place, answer in enumerate(answers)])


LATER = ("damaged", "started from", "weights_sha256", "sha256")
"""What studies and models state since this was recorded."""


def study_facts(study: Study) -> dict[str, Any]:
    """What a study says of itself, without times and places."""
    lists = {str(number): study.requests.read(number) for number in study.requests.rounds()}
    requests = {
        number: [[r.slice.volume, r.slice.index, r.score] for r in found.requests] for number, found in lists.items()
    }
    annotations = sorted(
        [a.slice.volume, a.slice.index, str(a.kind), a.annotator, a.round, a.seconds, sha(a.labels)]
        for a in study.annotations().values()
    )
    drafts = {f"{s.volume}/{s.index}": sorted(draft.planes) for s, draft in study.drafts.all("anna").items()}
    return {
        "labels": study.labels.to_json(),
        "status": {name: value for name, value in study.status().items() if name not in LATER},
        "requests": requests,
        "parameters": {number: found.parameters for number, found in lists.items()},
        "provenance": {number: sorted(found.provenance) for number, found in lists.items()},
        "annotations": annotations,
        "skipped": {f"{s.volume}/{s.index}": reason for s, reason in study.skipped().items()},
        "flagged": {f"{s.volume}/{s.index}": note for s, note in study.flagged().items()},
        "drafts": drafts,
        "audit": [record["event"] for name in (None, "anna") for record in study.audit.records(name)],
        "curve": StudyLoop(study, device="cpu").learning_curve(),
        "settings": StudyLoop(study, device="cpu").settings.to_json(),
    }


def study_files(folder: Path) -> dict[str, Any]:
    """The files of a study without its cache: of JSON files the keys, of names that are hashes a star."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if not name.startswith("cache/") and not path.name.endswith(".lock"):
            plain = "/".join("*" if _is_hash(part) else part for part in name.split("/"))
            found[plain] = _keys(json.loads(path.read_text(encoding="utf-8"))) if path.suffix == ".json" else None
    return found


def _is_hash(part: str) -> bool:
    return len(part) >= 16 and any(c.isdigit() for c in part) and all(c in "0123456789abcdef" for c in part[-16:])


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {"*" if key.isdecimal() else key: _keys(inner) for key, inner in value.items() if key not in LATER}
    return None


def trainings(cohort: Path, folder: Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Weights of every kind of network after some steps, by its name."""
    found = discover(cohort)
    study = Study.create(folder / "study", found, label_set_for(found, None), AnnotationKind.MASK)
    loop = StudyLoop(study, device="cpu")
    loop.settings = settings(4, 4, 8)
    stack, rows = loop.stack, np.arange(24)
    kinds = {"learned": loop.settings, "infovae": loop.settings}
    group = replace(loop.settings.embedding, norm="group", schedule="constant")
    kinds["learned:ntxent-volume"] = replace(loop.settings, embedding=group, seed=2)
    for kind, chosen in kinds.items():
        encoder = Embeddings(stack, rows, chosen, folder / kind[:7], Compute()).network(kind)
        yield kind, weights_of(encoder.network)
    annotated = np.isin(rows, (2, 9, 17))
    vaal = train_vaal(stack, rows, annotated, VaalSettings(steps=3, widths=(8, 8)), seed=4)
    yield "vaal", {"surprise": vaal.surprise}
    oracle = OracleAnnotator(stack, AnnotationKind.MASK)
    slices = [stack.slice_id(row) for row in (1, 6, 9, 14)]
    annotations = {annotation.slice: annotation for annotation in oracle.annotate(slices, 1)}
    examples = examples_from_annotations(stack, annotations, study.labels)
    for name in ("default", "vepa2024", "gaillochet2023", "ozdemir2021"):
        preset = TRAINING_PRESETS["ozdemir2021-unet" if name == "ozdemir2021" else name]  # the name it has now
        levels = 4 if len(preset.features) == 4 else 5
        small = replace(preset, steps=4, batch_size=3, features=(4, 4, 8, 8, 8)[:levels], validate_every=2)
        if name == "default":
            small = replace(small, loss_head=True)
        validation = examples if preset.select == "best" else None
        task = TrainingTask(stack, examples, study.labels.classes, small, seed=3, validation=validation)
        model = fit_ensemble(task, 2 if name == "default" else 1, folder=folder / name)
        for number, network in enumerate(model.networks()):
            yield f"{name} {number + 1}", weights_of(network)


def weights_of(network: torch.nn.Module) -> dict[str, np.ndarray]:
    """Weights by name."""
    return {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}


def fingerprint(weights: dict[str, np.ndarray]) -> dict[str, Any]:
    """A hash of all values, and numbers that say nearly the same where the last digits differ."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(name.encode() + np.ascontiguousarray(weights[name]).tobytes())
    norms = [float(f"{np.linalg.norm(weights[name].astype(np.float64)):.4g}") for name in sorted(weights)]
    names = hashlib.sha256(" ".join(sorted(weights)).encode()).hexdigest()[:16]
    return {"names": names, "norms": norms, "hash": digest.hexdigest()}


def sha(labels: np.ndarray) -> str:
    """Hash of label values."""
    return hashlib.sha256(np.ascontiguousarray(labels).tobytes()).hexdigest()[:16]


def main() -> None:
    """Record."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        cohort = write_cohort(place / "cohort")
        found: dict[str, Any] = {"computer": computer()}
        found["weights"] = {name: fingerprint(w) for name, w in trainings(cohort, place / "trainings")}
        run_benchmark(benchmark_options(cohort, place / "benchmark"))
        study = make_study(cohort, place / "study")
        found["study"], found["files"] = study_facts(study), study_files(study.folder)
        RECORDED.mkdir(exist_ok=True)
        (RECORDED / "facts.json").write_text(json.dumps(found, separators=(",", ":")) + "\n", encoding="utf-8")
        for name in ("requests", "results"):
            shutil.copy(place / "benchmark" / f"{name}.csv", RECORDED / f"{name}.csv")
        _zip(place, RECORDED / "folders.zip")


def _zip(place: Path, target: Path) -> None:
    """The cohort, the study and the comparison, without what can be made again."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(p for name in SEVERAL for p in (place / name).rglob("*")):
            name = path.relative_to(place)
            left_out = "cache" in name.parts or path.suffix in (".html", ".png", ".lock")
            left_out |= "model-2" in name.parts and "random-seed1" not in name.parts
            if path.is_file() and not left_out:
                archive.write(path, name.as_posix())


if __name__ == "__main__":
    main()
