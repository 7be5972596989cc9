"""DMPLS: learns from scribbles with two decoders, whose mixed predictions are labels of the other pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from ActiveSegmentationLib.common.seeds import torch_generator
from ActiveSegmentationLib.segmentation.loss_head import LossHead
from ActiveSegmentationLib.segmentation.losses import partial_dice
from ActiveSegmentationLib.segmentation.network import UNet, add_decoder, set_dropout
from ActiveSegmentationLib.segmentation.network_learner import NetworkLearner
from ActiveSegmentationLib.segmentation.settings import TrainingSettings
from ActiveSegmentationLib.training import History, Losses, Settings, seeded_weights, settings

if TYPE_CHECKING:
    from ActiveSegmentationLib.segmentation.segmentation_model import SegmentationModel
    from ActiveSegmentationLib.segmentation.training import TrainingTask

SHARES_EVERY = 10
"""Steps between two records of the classes of the pseudo labels."""


@settings
class DmplsOptions(Settings):
    """Options of the learner "dmpls"; the defaults are those of Luo et al. 2022.

    Attributes:
        auxiliary_dropout: Probability that a channel of a feature map is 0 for the auxiliary decoder.
        pseudo_weight: Weight of the loss on pseudo labels, next to the weight 1 of the loss on labels.
    """

    where: ClassVar[str] = "learner options"

    auxiliary_dropout: float = Field(default=0.5, ge=0, lt=1)
    pseudo_weight: float = Field(default=0.5, ge=0)


class DualDecoderUNet(UNet):
    """A U-Net with a second decoder that is used in training only.

    Args:
        channels: Channels of the images.
        classes: Classes including background.
        settings: Width, normalisation, dropout, and whether there is a loss head.
    """

    def __init__(self, channels: int, classes: int, settings: TrainingSettings) -> None:
        super().__init__(channels, classes, replace(settings, loss_head=False), wsl4mis=True)
        auxiliary = nn.Module()
        add_decoder(auxiliary, classes, settings, wsl4mis=True)
        set_dropout(auxiliary, self._decoder, settings.decoder_dropout, settings)
        self.net.add_module("auxiliary", auxiliary)
        # created last, so that the weights above do not depend on it
        self.loss_head = LossHead(settings.features) if settings.loss_head else None

    def decode_auxiliary(self, maps: list[torch.Tensor], size: tuple[int, int], dropout: float) -> torch.Tensor:
        """Logits (n, classes, H, W) of the second decoder, which sees all maps with whole channels set to 0.

        Args:
            maps: The encoder's maps of images of (H, W) pixels.
            size: (H, W).
            dropout: Probability of a channel to be set to 0.
        """
        auxiliary = self.net.get_submodule("auxiliary")
        return self.decode_with(auxiliary, [functional.dropout2d(each, dropout) for each in maps], size)


class DmplsLearner(NetworkLearner):
    """Trains a U-Net with two decoders and dynamically mixed pseudo labels (Luo et al. 2022, MICCAI).

    - Loss: the mean over both decoders of the loss on the labelled pixels, and ``pseudo_weight`` times their mean Dice
      loss against pseudo labels on all pixels (all classes, squared denominators, over the whole batch).
    - A pixel's pseudo label is the class with the highest b p + (1 - b) q for the probabilities p and q of the two
      decoders. b is drawn from U(0, 1) anew at every step. No gradient flows through pseudo labels. The weight is
      constant from the first step, as in the released code.
    - With the preset "dmpls" the loss on scribbles is their partial cross-entropy, as in the paper. Slices with masks,
      which the paper does not mix in, have the loss that the settings give masks.
    - Models predict with the main decoder only, so all that strategies need works as for a U-Net.

    With few labels, pseudo labels may turn into background everywhere. The history has their classes, and a message
    names those that vanished.
    """

    options = DmplsOptions
    shaped_by = ()
    learns_from_unlabelled = True
    network: DualDecoderUNet

    def __init__(self, *args: Any, **others: Any) -> None:
        super().__init__(*args, **others)
        self._options = DmplsOptions.from_json(self._settings.options)
        self._shares: list[list[float]] = []
        self._unread: list[torch.Tensor] = []

    @staticmethod
    def build_network(channels: int, classes: int, settings: TrainingSettings, *, seed: int) -> DualDecoderUNet:
        """See ``NetworkLearner.build_network``."""
        with seeded_weights(seed):
            network = DualDecoderUNet(channels, classes, settings)
        return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def outputs(self, maps: list[torch.Tensor], size: tuple[int, int]) -> list[torch.Tensor]:
        """Logits of the main and of the auxiliary decoder; see ``NetworkLearner.outputs``."""
        main = self.network.decode(maps, size)
        return [main, self.network.decode_auxiliary(maps, size, self._options.auxiliary_dropout)]

    def loss(self, outputs: list[torch.Tensor], labels: torch.Tensor, dense: torch.Tensor, number: int) -> torch.Tensor:
        """Loss on labels and pseudo labels; see ``NetworkLearner.loss``."""
        supervised = torch.stack([self._loss(logits, labels, dense) for logits in outputs]).mean()
        pseudo = self.pseudo_labels(outputs, number)
        if number % SHARES_EVERY == 0:
            self._unread.append(torch.stack([(pseudo == c).float().mean() for c in range(self._classes)]))
        agreements = [partial_dice(logits, pseudo, background=True, squared=True, absent=True) for logits in outputs]
        return supervised + self._options.pseudo_weight * torch.stack(agreements).mean()

    def pseudo_labels(self, outputs: list[torch.Tensor], number: int) -> torch.Tensor:
        """Pseudo labels of a step: logits (n, classes, H, W) of both decoders -> (n, H, W) int64, without gradient."""
        main, auxiliary = (torch.softmax(logits.detach(), 1) for logits in outputs)
        share = torch.rand((), generator=torch_generator(self._seed, "pseudo labels", number)).item()
        return (share * main + (1 - share) * auxiliary).argmax(1)

    def shares(self) -> list[list[float]]:
        """Share of each class in the pseudo labels, every ten steps; waits for a GPU, which training steps do not."""
        self._shares += [[round(share, 6) for share in found.tolist()] for found in self._unread]
        self._unread = []
        return self._shares

    def remarks(self, task: TrainingTask) -> list[str]:
        """Names annotated classes that the last pseudo labels lack; see ``NetworkLearner.remarks``."""
        last = self.shares()[-max(1, len(self._shares) // 10) :]
        annotated = set(task.examples.values().tolist())
        gone = [c for c in range(1, self._classes) if c in annotated and not any(shares[c] for shares in last)]
        if not gone:
            return []
        named = ", ".join(map(str, gone))
        return [
            f"No pseudo label of the last steps has class {named}, although it is annotated: annotate more slices, or "
            "train the learner 'unet'."
        ]

    def finished_model(self, task: TrainingTask, history: History) -> SegmentationModel:
        """The model, with the classes of its last pseudo labels in its record; see ``NetworkLearner``."""
        model = super().finished_model(task, history)
        model.record["shares of pseudo labels"] = self.shares()[-1]
        return model

    def shown_values(self, losses: Losses) -> Losses:
        """Loss, Dice, and share of background in the pseudo labels."""
        return super().shown_values(losses) | {"pseudo background": round(self.shares()[-1][0], 3)}

    def history_to_json(self, history: History) -> dict[str, Any]:
        """As ``NetworkLearner.history_to_json``, and the share of each class in the pseudo labels every ten steps."""
        return super().history_to_json(history) | {"pseudo labels": {"every": SHARES_EVERY, "shares": self.shares()}}

    def state(self) -> dict[str, Any]:
        """See ``Learner.state``."""
        return super().state() | {"shares": self.shares()}

    def load_state(self, state: dict[str, Any]) -> None:
        """Inverse of ``state``."""
        super().load_state(state)
        self._shares = state["shares"]
