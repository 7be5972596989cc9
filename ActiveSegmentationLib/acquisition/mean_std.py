"""Mean standard deviation of predictions with dropout."""

from __future__ import annotations

from typing import ClassVar

from ActiveSegmentationLib.acquisition.options import Option
from ActiveSegmentationLib.acquisition.registry import register
from ActiveSegmentationLib.acquisition.uncertain import AGGREGATE, DropoutUncertain, dropout_option, passes_option


@register
class MeanStd(DropoutUncertain):
    """Standard deviation of each class over passes with dropout, mean over classes and pixels (Kendall et al.
    2017; the baseline "Mean STD" of ALUNET: 10 passes, p = 0.1).

    The option statistic=var takes the variance, as the program released with ALUNET does. Needs a trained model with
    dropout. Cost: ``passes`` predictions of every slice by every model.
    """

    name = "mean-std"
    summary = "Slices whose predicted probabilities scatter most with dropout."
    known_options: ClassVar = {
        "passes": passes_option(10),
        "p": dropout_option(0.1),
        "statistic": Option("std", "standard deviation, or variance as released", choices=("std", "var")),
        "aggregate": AGGREGATE,
    }

    def map_name(self) -> str:
        """Standard deviation or variance, mean over the classes."""
        return {"std": "std", "var": "variance"}[self.options["statistic"]]
