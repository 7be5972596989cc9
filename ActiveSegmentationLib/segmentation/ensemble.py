"""Several models that differ in their random draws only, and predict together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import explained, hash_json, read_json, remove_tree, write_json
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.seeds import torch_seed
from ActiveSegmentationLib.segmentation.examples import Examples
from ActiveSegmentationLib.segmentation.predictor import Predictor
from ActiveSegmentationLib.segmentation.segmenter import Segmenter, load_segmenter, saved_key
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.segmentation.training import fit, training_key

LIST = "ensemble.json"
MEMBER = "member-"


@dataclass(frozen=True)
class Ensemble(Predictor):
    """Models whose probabilities are averaged.

    Attributes:
        members: At least one model, all of the same classes.
    """

    members: tuple[Segmenter, ...]

    def __post_init__(self) -> None:
        if not self.members or len({member.classes for member in self.members}) != 1:
            raise ValueError("an ensemble needs members, all of the same classes")

    @property
    def classes(self) -> int:
        """Classes including background."""
        return self.members[0].classes

    @property
    def key(self) -> str:
        """Hash of the members' keys, in order."""
        return hash_json([member.key for member in self.members])

    def networks(self) -> list[torch.nn.Module]:
        """The members' networks."""
        return [member.network for member in self.members]

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        """Mean of the members' probabilities: (n, channels, H, W) float32 -> (n, classes, H, W) float32."""
        total = self.members[0].predict(images)
        for member in self.members[1:]:
            total = total + member.predict(images)
        return total / len(self.members)

    def predict_loss(self, images: torch.Tensor) -> torch.Tensor:
        """Mean of the members' predicted losses: (n, channels, H, W) float32 -> (n,) float32."""
        return torch.stack([member.predict_loss(images) for member in self.members]).mean(0)

    def features(
        self,
        stack: Slices,
        rows: np.ndarray,
        *,
        device: str = "cpu",
        flatten: bool = False,
        progress: Progress | None = None,
    ) -> np.ndarray:
        """Features of slices from all members, see ``Segmenter.features``; a single member's as they are.

        Those of several members are put side by side, each member's divided by their spread over the rows: squared
        Euclidean distances are then sums over the members, and none counts more because its features are larger.

        Args:
            stack: The cohort's slices.
            rows: (n,) rows of the stack.
            device: Torch device.
            flatten: Keep every position of the maps, rather than their means over positions.
            progress: Told after every batch.

        Returns:
            (n, features of all members) float32.
        """
        found = [
            member.features(stack, rows, device=device, flatten=flatten, progress=progress) for member in self.members
        ]
        return found[0] if len(found) == 1 else np.concatenate([_of_unit_spread(part) for part in found], axis=1)


def _of_unit_spread(features: np.ndarray) -> np.ndarray:
    """Features (n, d) divided by the root of their total variance, where they vary at all."""
    spread = float(np.sqrt(features.var(axis=0, dtype=np.float64).sum())) if len(features) else 0.0
    return features / np.float32(spread) if spread > 0 else features


def fit_ensemble(
    stack: Slices,
    examples: Examples,
    classes: int,
    settings: TrainingSettings,
    *,
    members: int = 1,
    seed: int,
    folder: Path,
    device: str = "cpu",
    validation: Examples | None = None,
    initial: Ensemble | None = None,
    progress: Progress | None = None,
) -> Ensemble:
    """Train ``members`` models, each in a folder of its own; finished ones are loaded, an interrupted one goes on.

    The folders are named by the models' keys: an earlier ensemble stays in use until all members are trained, and is
    removed then. Member i is the same whatever the number of members. See ``fit`` for the other arguments; with a warm
    start, member i starts from member i of ``initial``, or from its first where that has fewer.

    Raises:
        BadInput: If ``members`` is below 1, or as ``fit`` does.
        JobFailed: As ``fit`` does.
    """
    if members < 1:
        raise BadInput("An ensemble needs at least one model.", where="members", advice="Ask for 1 or more.")
    trained = []
    for number in range(members):
        first = None if initial is None else initial.members[number if number < len(initial.members) else 0]
        model_seed = torch_seed(seed, "member", number)
        key = training_key(stack, examples, classes, settings, seed=model_seed, validation=validation, initial=first)
        model = fit(
            stack,
            examples,
            classes,
            settings,
            seed=model_seed,
            folder=_folder_of(folder, key),
            device=device,
            validation=validation,
            initial=first,
            progress=progress,
            stage="Training" if members == 1 else f"Training model {number + 1} of {members}",
        )
        trained.append(model)
    ensemble = Ensemble(tuple(trained))
    write_json(folder / LIST, {"key": ensemble.key, "members": [member.key for member in trained]})
    _remove_others(folder, ensemble)
    return ensemble


def is_trained(folder: Path) -> bool:
    """Whether ``fit_ensemble`` ever finished in this folder; a later training that was broken off changes nothing."""
    return trained_key(folder) is not None


def trained_key(folder: Path) -> str | None:
    """Key of the last ensemble that ``fit_ensemble`` finished in this folder, or None; reads no weights."""
    if not (folder / LIST).exists() or None in _member_folders(folder):
        return None
    return read_json(folder / LIST)["key"]


def load_ensemble(folder: Path) -> Ensemble:
    """The models of the last ``fit_ensemble`` that finished in the folder.

    Raises:
        BadInput: If there are none, or a file is missing or damaged.
    """
    if not is_trained(folder):
        raise BadInput("There is no finished model here.", where=folder, advice="Train first.")
    return Ensemble(tuple(load_segmenter(member) for member in _member_folders(folder) if member is not None))


def _folder_of(folder: Path, key: str) -> Path:
    return folder / f"{MEMBER}{key[:16]}"


def _member_folders(folder: Path) -> list[Path | None]:
    """Where the listed models are, None for one that is not there."""
    keys = read_json(folder / LIST)["members"]
    return [_found(folder, number, key) for number, key in enumerate(keys)]


def _found(folder: Path, number: int, key: str) -> Path | None:
    """The folder of a listed model; older studies name it by the number."""
    places = (_folder_of(folder, key), folder / f"{MEMBER}{number}")
    return next((place for place in places if saved_key(place) == key), None)


def _remove_others(folder: Path, ensemble: Ensemble) -> None:
    """Remove models of earlier trainings, and what a kill left of removing them."""
    kept = {_folder_of(folder, member.key) for member in ensemble.members}
    with explained(folder):
        for path in list(folder.iterdir()):
            if path.is_dir() and path not in kept and path.name.startswith((MEMBER, ".tmp-")):
                remove_tree(path)
