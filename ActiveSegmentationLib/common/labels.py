"""The two label values that mean the same everywhere: background and the ignore label."""

from __future__ import annotations

BACKGROUND = 0
"""Label value of background."""

IGNORE_LABEL = 255
"""Label value of unlabelled pixels, which no loss and no metric counts."""
