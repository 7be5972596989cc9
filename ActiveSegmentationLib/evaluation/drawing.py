"""Drawing tools that all figures share: canvases without global state, colours, PNG bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Color = tuple[float, float, float]
"""Red, green and blue, 0..1."""

INK = "#222222"
FAINT = "#6b6b6b"

# the palette of Okabe and Ito, which is safe for colour-blind readers
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINE_STYLES = ("-", "--", "-.", ":")
MARKERS = "osD^vPX"

# the bright ones first: contours are drawn on grey images
LABEL_COLORS: tuple[Color, ...] = (
    (1.00, 0.62, 0.00),
    (0.35, 0.78, 1.00),
    (0.95, 0.90, 0.25),
    (0.95, 0.45, 0.75),
    (0.10, 0.85, 0.60),
    (1.00, 0.35, 0.20),
    (0.65, 0.60, 1.00),
)
BACKGROUND_COLOR: Color = (0.20, 0.35, 0.85)


def new_figure(width: float, height: float) -> Figure:
    """An empty white figure with a canvas of its own; the size is in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def to_png(figure: Figure, dpi: int = 150) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def to_svg(figure: Figure) -> bytes:
    """The figure as SVG with text as text, the same bytes for the same figure."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "activesegmentation", "svg.fonttype": "none"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue()


def label_color(value: int, colors: Mapping[int, Color] | None = None) -> Color:
    """The colour of a label value: from ``colors`` or the palette; background (0) is dark blue."""
    if colors is not None and value in colors:
        return colors[value]
    # the second term keeps values like 63, 126, 189, 252 apart, which a cohort may use
    return BACKGROUND_COLOR if value == 0 else LABEL_COLORS[(value - 1 + value // 8) % len(LABEL_COLORS)]


def grey_levels(image: np.ndarray) -> np.ndarray:
    """An image scaled to 0..1 for display, clipped at its 0.5th and 99.5th percentile.

    Args:
        image: (H, W) float; pixels that are not finite become black.

    Returns:
        (H, W) float32, 0..1; constant images become mid-grey.
    """
    pixels = np.asarray(image, dtype=np.float32)
    finite = np.isfinite(pixels)
    if not finite.any():
        return np.zeros(pixels.shape, dtype=np.float32)
    low, high = np.percentile(pixels[finite], [0.5, 99.5])
    if high <= low:
        low, high = float(pixels[finite].min()), float(pixels[finite].max())
    if high <= low:
        return np.where(finite, np.float32(0.5), np.float32(0))
    return np.where(finite, np.clip((pixels - low) / (high - low), 0, 1), 0).astype(np.float32)


def from_zero(axes: Axes) -> None:
    """End the vertical axis a little below 0, where it would show values that no metric has."""
    low, high = axes.get_ylim()
    axes.set_ylim(bottom=max(low, -0.02 * (high - low)))


def tidy(axes: Axes) -> None:
    """Remove chart elements that show no data."""
    axes.spines[["right"]].set_visible(False)
    axes.spines[["left", "bottom", "top"]].set_color("#b0b0b0")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=FAINT, labelcolor=INK, labelsize=10)
