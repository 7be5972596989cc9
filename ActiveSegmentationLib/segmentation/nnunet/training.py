"""The training of nnU-Net, step by step, so that it can be reported, cancelled, resumed and repeated to the bit."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ActiveSegmentationLib.common.labels import IGNORE_LABEL
from ActiveSegmentationLib.common.seeds import torch_seed
from ActiveSegmentationLib.segmentation.loss_head import ATTACHED, head_optimiser, ranking_loss
from ActiveSegmentationLib.segmentation.losses import SegmentationLoss
from ActiveSegmentationLib.segmentation.model_files import HISTORY
from ActiveSegmentationLib.segmentation.nnunet.network import build_network
from ActiveSegmentationLib.segmentation.nnunet.options import NnunetOptions
from ActiveSegmentationLib.segmentation.nnunet.trainer import LoopTrainer, PreparedCases, make_trainer
from ActiveSegmentationLib.segmentation.validation import class_counts, mean_dice
from ActiveSegmentationLib.training import History, Learner, Losses, StepLosses

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.nnunet.network import NnunetNetwork
    from ActiveSegmentationLib.segmentation.nnunet.plans import Plan
    from ActiveSegmentationLib.segmentation.settings import TrainingSettings

CLIP = 12.0
"""Largest norm of the gradient, as in nnU-Net."""

MOST_WORKERS = 8
"""Processes that prepare batches for a GPU, if there are as many processors."""

NETWORK, HEAD = "network", "loss head"
"""Names of the optimisers."""

Targets = list[torch.Tensor]
"""Labels (n, 1, ...) of all levels of deep supervision, finest first."""


class NnunetTraining(Learner):
    """One training of nnU-Net, which ``run_training`` drives.

    Network, loss, optimiser, schedule, clipping and augmentation are nnU-Net's. Every random draw of a step is from a
    stream that is named by the number of the step, so that the weights depend neither on interruptions nor on the
    number of processes that prepare batches. On a GPU, nnU-Net's arithmetic is not repeatable to the bit.

    Args:
        plan: The plan.
        cases: The prepared cases.
        settings: Settings of the training, with the options of the learner.
        seed: Seed of initial weights, batches, augmentation and dropout.
        device: PyTorch device.
        work: Folder for nnU-Net's files.
    """

    history_file: ClassVar[str] = HISTORY
    advice: ClassVar[str] = "Lower the learning rate, and check the images of the annotated slices."
    stage = "Training"
    network: NnunetNetwork

    def __init__(
        self,
        plan: Plan,
        cases: PreparedCases,
        settings: TrainingSettings,
        *,
        seed: int,
        device: str,
        work: Path,
    ) -> None:
        self.steps, self.device = settings.steps, device
        self._options, self._seed = NnunetOptions.from_json(settings.options), seed
        self._augments = settings.augment
        self._epochs = -(-settings.steps // self._options.iterations)
        self._trainer: LoopTrainer = make_trainer(plan, device, work)
        self.network = build_network(plan, head=settings.loss_head, seed=torch_seed(seed, "weights"))
        self.network.to(device)
        self.network.supervise_deeply(True)
        self._trainer.take(self.network, self._options, self._epochs)
        self.optimisers = {NETWORK: self._trainer.optimizer}
        if self.network.loss_head is not None:
            self.optimisers[HEAD] = head_optimiser(self.network.loss_head)
        self._batches = _Batches(self._trainer.batch_source(cases, augment=settings.augment), seed, settings.steps)
        self._source: Iterator[tuple[torch.Tensor, Targets]] | None = None
        self._counts: torch.Tensor | None = None

    def start_from(self, network: NnunetNetwork) -> None:
        """Replace the random initial weights by those of a trained network with the same layers."""
        self.network.net.load_state_dict(network.net.state_dict())
        if self.network.loss_head is not None and network.loss_head is not None:
            self.network.loss_head.load_state_dict(network.loss_head.state_dict())

    def step(self, number: int) -> StepLosses:
        """Do one optimisation step; see ``Learner.step``."""
        if self._source is None:
            self._source = iter(self._loader(number))
        images, targets = next(self._source)
        self._trainer.lr_scheduler.step(number // self._options.iterations)
        torch.manual_seed(torch_seed(self._seed, "dropout", number))
        self.network.train()
        images = images.to(self.device, non_blocking=True)
        targets = [target.to(self.device, non_blocking=True) for target in targets]
        with torch.autocast("cuda", enabled=self.device.startswith("cuda")):
            maps = self.network.encode(images)
            outputs = self.network.decode_all(maps)
            loss = self._trainer.loss(outputs, targets)
        total = loss + self._head_loss(maps, outputs[0].detach(), targets[0], number)
        self._counts = class_counts(outputs[0].detach(), self._classes_of(targets[0]))
        self._descend(total)
        return {"loss": torch.where(torch.isfinite(total.detach()), loss.detach().float(), math.nan)}

    def shown_values(self, losses: Losses) -> Losses:
        """Loss of the step, and Dice of its patches."""
        dice = 0.0 if self._counts is None else mean_dice(self._counts)
        return {"loss": round(losses["loss"], 4), "dice": round(dice, 3)}

    def history_to_json(self, history: History) -> dict[str, Any]:
        """Mean loss of every epoch so far and time, for a plot."""
        history.read()
        losses, length = history.losses.get("loss", []), self._options.iterations
        epochs = [losses[start : start + length] for start in range(0, len(losses), length)]
        about = {"steps": history.steps, "seconds": history.seconds, "validation": [], "epochs": self._epochs}
        return about | {"steps in an epoch": length, "loss": [sum(epoch) / len(epoch) for epoch in epochs]}

    def state(self) -> dict[str, Any]:
        """The state of the training; see ``Learner.state``."""
        scaler = self._trainer.grad_scaler
        return super().state() | {"scaler": None if scaler is None else scaler.state_dict()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        super().load_state(state)
        if self._trainer.grad_scaler is not None and state["scaler"] is not None:
            self._trainer.grad_scaler.load_state_dict(state["scaler"])

    def trained_network(self) -> NnunetNetwork:
        """The network with its last weights, in evaluation mode."""
        self.network.supervise_deeply(False)
        self.network.eval()
        return self.network

    @property
    def mirror_axes(self) -> tuple[int, ...]:
        """Axes along which the training mirrored patches, as nnU-Net counts them; none without augmentation."""
        return tuple(self._trainer.inference_allowed_mirroring_axes) if self._augments else ()

    def _loader(self, first: int) -> DataLoader:
        workers = self._options.workers
        if workers < 0:
            workers = min(MOST_WORKERS, (os.cpu_count() or 1) - 1) if self.device.startswith("cuda") else 0
        pinned = self.device.startswith("cuda")
        return DataLoader(
            self._batches, batch_size=None, sampler=range(first, self.steps), num_workers=workers, pin_memory=pinned
        )

    def _classes_of(self, target: torch.Tensor) -> torch.Tensor:
        """Labels (n, 1, ...) with nnU-Net's ignore label -> (n, ...) uint8 classes, 255 where unlabelled."""
        classes = target[:, 0].to(torch.uint8)
        ignored = self._trainer.label_manager.ignore_label
        return classes if ignored is None else torch.where(target[:, 0] == ignored, IGNORE_LABEL, classes)

    def _head_loss(
        self, maps: list[torch.Tensor], logits: torch.Tensor, target: torch.Tensor, number: int
    ) -> torch.Tensor | float:
        """Ranking loss of the loss head, 0 without one; see ``loss_head``."""
        if self.network.loss_head is None:
            return 0.0
        dense = torch.ones(len(logits), dtype=torch.bool, device=logits.device)
        losses = SegmentationLoss().by_slice(logits.float(), self._classes_of(target), dense)
        seen = maps if number < ATTACHED * self.steps else [level.detach() for level in maps]
        return ranking_loss(self.network.loss_head(seen), losses)

    def _descend(self, loss: torch.Tensor) -> None:
        """Update the weights; gradients are clipped separately for each optimiser."""
        scaler = self._trainer.grad_scaler
        self.network.zero_grad(set_to_none=True)
        (loss if scaler is None else scaler.scale(loss)).backward()
        parts = {NETWORK: self.network.net, HEAD: self.network.loss_head}
        for name, optimiser in self.optimisers.items():
            part = parts[name]
            assert part is not None  # there is an optimiser only for what there is
            if scaler is not None:
                scaler.unscale_(optimiser)
            torch.nn.utils.clip_grad_norm_(part.parameters(), CLIP)
            optimiser.step() if scaler is None else scaler.step(optimiser)
        if scaler is not None:
            scaler.update()


class _Batches(Dataset):
    """nnU-Net's batches by the number of the step, which is all that they depend on."""

    def __init__(self, source: Any, seed: int, steps: int) -> None:
        self._source, self._seed, self._steps = source, seed, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, number: int) -> tuple[torch.Tensor, Targets]:
        seed = torch_seed(self._seed, "batch", number)
        torch.manual_seed(seed)
        with _numpy_seeded(seed % 2**32):
            batch = self._source.generate_train_batch()
        targets = batch["target"]
        return batch["data"], targets if isinstance(targets, list) else [targets]


@contextlib.contextmanager
def _numpy_seeded(seed: int) -> Iterator[None]:
    """Within the block NumPy's global generator, which nnU-Net draws from, is seeded; afterwards it is as before."""
    before = np.random.get_state()
    np.random.seed(seed)
    try:
        yield
    finally:
        np.random.set_state(before)
