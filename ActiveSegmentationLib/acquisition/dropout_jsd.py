"""Jensen-Shannon divergence of predictions with dropout."""

from __future__ import annotations

from typing import ClassVar

from ActiveSegmentationLib.acquisition.divergence import FORMULA, MAPS
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import AGGREGATE, DropoutUncertain, dropout_option, passes_option


@register
class DropoutJsd(DropoutUncertain):
    """Jensen-Shannon divergence of the predictions with dropout, H(mean_t p_t) - mean_t H(p_t), mean over pixels
    (the baseline "Dropout" of Gaillochet 2023: 8 passes, p = 0.5; the formula is BALD's).

    Needs a trained model with dropout. Cost: ``passes`` predictions of every slice by every model.
    """

    name = "dropout-jsd"
    summary = "Slices on which predictions with dropout differ most from one another."
    known_options: ClassVar = {
        "passes": passes_option(8),
        "p": dropout_option(),
        "formula": FORMULA,
        "aggregate": AGGREGATE,
    }

    def map_name(self) -> str:
        """Divergence, or half the sum."""
        return MAPS[self.options["formula"]]
