"""The spaces in which strategies compare slices: the embedding behind each, and what stands in for a missing one."""

from __future__ import annotations

from typing import NamedTuple

from ActiveSegmentationLib.acquisition.pool import Pool
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.embedding import EmbeddingSettings, named_settings

SPACES = {
    "segmenter": "the current model's features",
    "segmenter-map": "the current model's features at every place",
    "pixels": "their pixels",
    "learned": "the learned metric",
}
"""Kinds of embedding, in words."""


WITHOUT_GROUPS = "learned:nt-xent=1"
"""The encoder that is trained to find a changed slice again and for nothing else, as the study trains its own."""


class Space(NamedTuple):
    """Where slices are compared.

    Attributes:
        kind: Kind of embedding: "segmenter", "segmenter-map", "pixels", "learned" or "learned:NAME".
    """

    kind: str

    @property
    def embeddings(self) -> tuple[str, ...]:
        """Kinds of embedding that the pool may be asked for."""
        return (self.kind, "pixels") if self._of_model else (self.kind,)

    def of(self, pool: Pool) -> str:
        """The kind of embedding to use in this round: pixels stand in for the features of a model not trained yet."""
        return "pixels" if self._of_model and not pool.offers(self.kind) else self.kind

    @property
    def _of_model(self) -> bool:
        return self.kind.startswith("segmenter")


def parse_space(argument: str | None, default: str, strategy: str) -> Space:
    """The space that a strategy's argument names.

    Args:
        argument: One of ``SPACES``, or "learned:NAME" with a name that ``named_settings`` knows; None for the default.
        default: Kind used where there is no argument.
        strategy: Name of the strategy, for the error.

    Raises:
        BadInput: If the argument names no space.
    """
    kind = default if argument is None else argument
    head, colon, name = kind.partition(":")
    if head not in SPACES or (colon and head != "learned"):
        advice = f"Use {', '.join(f'{strategy}:{space}' for space in SPACES)} or {strategy}:learned:PRESET."
        raise BadInput(f"There is no space called '{kind}'.", where=f"strategy {strategy}", advice=advice)
    if colon:
        named_settings(name, EmbeddingSettings())
    return Space(kind)


def in_words(kind: str) -> str:
    """A kind of embedding in words, to follow "by"."""
    return SPACES[kind.partition(":")[0]]
