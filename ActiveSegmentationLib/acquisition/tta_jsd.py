"""Jensen-Shannon divergence of the predictions of a slice as it is, turned and noisy."""

from __future__ import annotations

from typing import ClassVar

from ActiveSegmentationLib.acquisition.divergence import FORMULA, MAPS
from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import AGGREGATE, Uncertain, passes_option
from ActiveSegmentationLib.uncertainty import Sampler, TestTimeAugmentation


@register
class AugmentationJsd(Uncertain):
    """Jensen-Shannon divergence of the predictions of a slice as it is and of rotated, noisy copies of it, mean over
    the pixels that no rotation loses (the baseline "TTA" of Gaillochet 2023: 7 copies and the slice itself, rotations
    from U(-10, 10) degrees, noise of standard deviation 0.01).

    Needs a trained model, no dropout. Cost: ``passes`` + 1 predictions of every slice.
    """

    name = "tta-jsd"
    summary = "Slices on which the prediction changes when they are turned a little; needs no dropout."
    finding = "The prediction changes more when this slice is turned a little than with {others}."
    known_options: ClassVar = {
        "passes": passes_option(7, least=1),
        "rotation": Option(10.0, "largest rotation in degrees, either way", least=0, most=90),
        "noise": Option(0.01, "standard deviation of the noise, in units of the normalised images", least=0, most=10),
        "formula": FORMULA,
        "aggregate": AGGREGATE,
    }

    def sampler(self) -> Sampler:
        """Test-time augmentation with the options "passes", "rotation" and "noise"."""
        return TestTimeAugmentation(self.options["passes"], self.options["rotation"], self.options["noise"])

    def map_name(self) -> str:
        """Divergence, or half the sum."""
        return MAPS[self.options["formula"]]
