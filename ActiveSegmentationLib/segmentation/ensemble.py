"""Ensembles: models that differ only in their random draws, and whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_json, remove_tree, write_json
from ActiveSegmentationLib.common.seeds import torch_seed
from ActiveSegmentationLib.segmentation.model_files import (
    ENSEMBLE_LIST,
    MEMBER,
    is_trained,
    member_folder,
    member_folders,
)
from ActiveSegmentationLib.segmentation.predictor import Batch, Predictor, TrainedModel
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.segmentation.training import TrainingTask, fit, load_model


@dataclass(frozen=True)
class Ensemble(Predictor):
    """Models whose probabilities are averaged.

    Attributes:
        members: The ensemble members, at least one, all of the same classes.
    """

    members: tuple[TrainedModel, ...]

    def __post_init__(self) -> None:
        if not self.members or len({member.classes for member in self.members}) != 1:
            raise ValueError("an ensemble needs members, all of the same classes")

    @property
    def classes(self) -> int:
        """Number of classes including background."""
        return self.members[0].classes

    @property
    def key(self) -> str:
        """Hash of the members' keys, in order."""
        return hash_json([member.key for member in self.members])

    def networks(self) -> list[torch.nn.Module]:
        """The members' networks."""
        return [network for member in self.members for network in member.networks()]

    @property
    def capabilities(self) -> frozenset[str]:
        """What all members can do."""
        return frozenset.intersection(*(member.capabilities for member in self.members))

    def batches(
        self, stack: Slices, rows: np.ndarray, compute: Compute | None = None, *, stage: str = "Reading slices"
    ) -> Iterator[Batch]:
        """The inputs of the first member, which are those of all; see ``Predictor.batches``."""
        self._evaluate_on((compute or Compute()).device)
        yield from self.members[0].batches(stack, rows, compute, stage=stage)

    def plane_batches(self, stack: Slices, volume_id: str, compute: Compute | None = None) -> Iterator[Batch]:
        """The inputs of the first member, which are those of all; see ``Predictor.plane_batches``."""
        self._evaluate_on((compute or Compute()).device)
        yield from self.members[0].plane_batches(stack, volume_id, compute)

    def planes(self, stack: Slices, volume_id: str, predicted: torch.Tensor) -> np.ndarray:
        """Predictions in the volume's planes, as the first member makes them; see ``Predictor.planes``."""
        return self.members[0].planes(stack, volume_id, predicted)

    def largest_slice(self, stack: Slices) -> tuple[int, int]:
        """That of the first member; see ``Predictor.largest_slice``."""
        return self.members[0].largest_slice(stack)

    def network_slices(
        self, stack: Slices, rows: np.ndarray, compute: Compute | None = None, *, stage: str = "Reading slices"
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Slices as the first member's network takes them; see ``Predictor.network_slices``."""
        self._evaluate_on((compute or Compute()).device)
        yield from self.members[0].network_slices(stack, rows, compute, stage=stage)

    def _evaluate_on(self, device: str) -> None:
        for member in self.members:
            member.to(device)
            for network in member.networks():
                network.eval()

    def predict(self, inputs: Any) -> torch.Tensor:
        """Mean of the members' probabilities (n, classes, H, W) float32; see ``Predictor.predict``."""
        total = self.members[0].predict(inputs)
        for member in self.members[1:]:
            total = total + member.predict(inputs)
        return total / len(self.members)

    def predict_loss(self, images: torch.Tensor) -> torch.Tensor:
        """Mean of the members' predicted losses: (n, channels, H, W) float32 -> (n,) float32."""
        return torch.stack([member.predict_loss(images) for member in self.members]).mean(0)

    def features(
        self, stack: Slices, rows: np.ndarray, *, flatten: bool = False, compute: Compute | None = None
    ) -> np.ndarray:
        """Features of slices from all members, see ``Predictor.features``; those of a single member as they
        are.

        The features of several members are concatenated, those of each member divided by their spread over the rows.
        Squared Euclidean distances are then sums over the members, and no member counts more because its features are
        larger.

        Returns:
            (n, features of all members) float32.
        """
        found = [member.features(stack, rows, flatten=flatten, compute=compute) for member in self.members]
        return found[0] if len(found) == 1 else np.concatenate([_of_unit_spread(part) for part in found], axis=1)


def _of_unit_spread(features: np.ndarray) -> np.ndarray:
    """Features (n, d) divided by the root of their total variance, unless it is 0."""
    spread = float(np.sqrt(features.var(axis=0, dtype=np.float64).sum())) if len(features) else 0.0
    return features / np.float32(spread) if spread > 0 else features


def fit_ensemble(
    task: TrainingTask,
    members: int = 1,
    *,
    folder: Path,
    compute: Compute | None = None,
    initial: Ensemble | None = None,
) -> Ensemble:
    """Train the members of an ensemble; finished members are loaded, an interrupted one is resumed.

    - Each member has a folder that is named by its key.
    - An earlier ensemble in the folder stays in use until all members are trained, and is removed then.
    - Member i is the same regardless of the number of members.

    Args:
        task: What to train on and how; every member has a seed of its own that follows from the task's.
        members: Number of ensemble members, at least 1.
        folder: Folder of the ensemble.
        compute: Device and progress reporter. Default: the CPU.
        initial: Ensemble to start from if the settings ask for a warm start: member i starts from its member i, or
            from its first where it has fewer.

    Raises:
        BadInput: If ``members`` is below 1, or the initial models have another shape.
        JobFailed: If a loss is not finite, or the disk is full.

    Example:
        >>> ensemble = fit_ensemble(task, 5, folder=Path("model"), compute=Compute("cuda"))
    """
    if members < 1:
        raise BadInput("An ensemble needs at least one model.", where="members", advice="Use 1 or more.")
    trained = []
    for number in range(members):
        first = None if initial is None else initial.members[number if number < len(initial.members) else 0]
        own = replace(task, seed=torch_seed(task.seed, "member", number), initial=first)
        stage = "Training" if members == 1 else f"Training model {number + 1} of {members}"
        trained.append(fit(own, folder=member_folder(folder, own.key), compute=compute, stage=stage))
    ensemble = Ensemble(tuple(trained))
    write_json(folder / ENSEMBLE_LIST, _listed(ensemble))
    _remove_others(folder, ensemble)
    return ensemble


def save_ensemble(model: Predictor, folder: Path) -> list[Path]:
    """Write a model or an ensemble to a folder, from which ``load_ensemble`` reads it.

    Args:
        model: The model.
        folder: The folder; created if missing.

    Returns:
        The files written.

    Raises:
        BadInput: If the folder cannot be written.
        JobFailed: If the disk is full.
    """
    ensemble = model if isinstance(model, Ensemble) else Ensemble((cast(TrainedModel, model),))
    written = []
    for member in ensemble.members:
        own = member_folder(folder, member.key)
        member.save(own)
        written += sorted(path for path in own.rglob("*") if path.is_file())
    write_json(folder / ENSEMBLE_LIST, _listed(ensemble))
    return [*written, folder / ENSEMBLE_LIST]


def load_ensemble(folder: Path) -> Ensemble:
    """The last ensemble that ``fit_ensemble`` finished in this folder.

    Raises:
        BadInput: If there is none, or a file is missing or damaged.
    """
    if not is_trained(folder):
        raise BadInput("There is no finished model here.", where=folder, advice="Train first.")
    return Ensemble(tuple(load_model(member) for member in member_folders(folder) if member is not None))


def _listed(ensemble: Ensemble) -> dict[str, Any]:
    """The content of the file that names the members."""
    return {"key": ensemble.key, "members": [member.key for member in ensemble.members]}


def _remove_others(folder: Path, ensemble: Ensemble) -> None:
    """Remove models of earlier trainings, and what is left of an interrupted removal."""
    kept = {member_folder(folder, member.key) for member in ensemble.members}
    with explained(folder):
        for path in list(folder.iterdir()):
            if path.is_dir() and path not in kept and path.name.startswith((MEMBER, ".tmp-")):
                remove_tree(path)
