"""Several models that differ in their random draws only, and predict together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.common.files import hash_json, read_json, write_json
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.seeds import torch_seed
from ActiveSegmentationLib.segmentation.examples import Examples
from ActiveSegmentationLib.segmentation.predictor import Predictor
from ActiveSegmentationLib.segmentation.segmenter import Segmenter, load_segmenter, saved_key
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.segmentation.slices import Slices
from ActiveSegmentationLib.segmentation.training import fit

LIST = "ensemble.json"


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
    """Train ``members`` models in ``folder/member-<i>``; finished ones are loaded, an interrupted one goes on.

    Member i is the same whatever the number of members. See ``fit`` for the other arguments; with a warm start, member
    i starts from member i of ``initial``, or from its first where that has fewer.

    Raises:
        BadInput: If ``members`` is below 1, or as ``fit`` does.
        JobFailed: As ``fit`` does.
    """
    if members < 1:
        raise BadInput("An ensemble needs at least one model.", where="members", advice="Ask for 1 or more.")
    trained = tuple(
        fit(
            stack,
            examples,
            classes,
            settings,
            seed=torch_seed(seed, "member", number),
            folder=folder / f"member-{number}",
            device=device,
            validation=validation,
            initial=None if initial is None else initial.members[number if number < len(initial.members) else 0],
            progress=progress,
            stage="Training" if members == 1 else f"Training model {number + 1} of {members}",
        )
        for number in range(members)
    )
    ensemble = Ensemble(trained)
    write_json(folder / LIST, {"key": ensemble.key, "members": [member.key for member in trained]})
    return ensemble


def is_trained(folder: Path) -> bool:
    """Whether ``fit_ensemble`` finished in this folder, and no later training in it was broken off."""
    return trained_key(folder) is not None


def trained_key(folder: Path) -> str | None:
    """Key of the ensemble that ``fit_ensemble`` finished in this folder, or None; reads no weights."""
    if not (folder / LIST).exists():
        return None
    known = read_json(folder / LIST)
    whole = all(saved_key(folder / f"member-{number}") == key for number, key in enumerate(known["members"]))
    return known["key"] if whole else None


def load_ensemble(folder: Path) -> Ensemble:
    """The models that ``fit_ensemble`` left in the folder.

    Raises:
        BadInput: If there are none, or a file is missing or damaged.
    """
    if not is_trained(folder):
        raise BadInput("There is no finished model here.", where=folder, advice="Train first.")
    count = len(read_json(folder / LIST)["members"])
    return Ensemble(tuple(load_segmenter(folder / f"member-{number}") for number in range(count)))
