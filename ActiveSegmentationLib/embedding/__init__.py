"""Which slices are alike: the group-contrastive metric learned from a cohort, and pixels as its cheap baseline."""

from ActiveSegmentationLib.embedding.augmentation import ViewSettings, blurred, random_views
from ActiveSegmentationLib.embedding.cache import cached_embeddings
from ActiveSegmentationLib.embedding.diagnostics import collapse_diagnostics
from ActiveSegmentationLib.embedding.encoder import Encoder, load_encoder
from ActiveSegmentationLib.embedding.losses import (
    BatchIds,
    LossWeights,
    contrastive_losses,
    group_contrastive_loss,
    nt_xent,
    scaled_similarity,
)
from ActiveSegmentationLib.embedding.network import EncoderNetwork, build_network
from ActiveSegmentationLib.embedding.pixels import pixel_features
from ActiveSegmentationLib.embedding.sampler import GroupBatch, GroupBatchSampler, SliceTable
from ActiveSegmentationLib.embedding.settings import EMBEDDING_PRESETS, EmbeddingSettings, named_settings
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.embedding.training import train_encoder

__all__ = [
    "EMBEDDING_PRESETS",
    "BatchIds",
    "EmbeddableSlices",
    "EmbeddingSettings",
    "Encoder",
    "EncoderNetwork",
    "GroupBatch",
    "GroupBatchSampler",
    "LossWeights",
    "SliceTable",
    "ViewSettings",
    "blurred",
    "build_network",
    "cached_embeddings",
    "collapse_diagnostics",
    "contrastive_losses",
    "group_contrastive_loss",
    "load_encoder",
    "named_settings",
    "nt_xent",
    "pixel_features",
    "random_views",
    "scaled_similarity",
    "train_encoder",
]
