"""Which slices are alike: the group-contrastive metric learned from a cohort, and pixels as its cheap baseline."""

from ActiveSegmentationLib.embedding.augmentation import ViewSettings, blurred, random_views
from ActiveSegmentationLib.embedding.cache import cached_embeddings
from ActiveSegmentationLib.embedding.diagnostics import collapse_diagnostics
from ActiveSegmentationLib.embedding.encoder import Encoder, load_encoder
from ActiveSegmentationLib.embedding.info_vae import InfoVae, load_info_vae, train_info_vae
from ActiveSegmentationLib.embedding.info_vae_settings import INFO_VAE_PRESETS, InfoVaeSettings
from ActiveSegmentationLib.embedding.losses import (
    BatchIds,
    LossWeights,
    contrastive_losses,
    group_contrastive_loss,
    nt_xent,
    scaled_similarity,
)
from ActiveSegmentationLib.embedding.mmd import mmd
from ActiveSegmentationLib.embedding.network import EncoderNetwork, build_network
from ActiveSegmentationLib.embedding.pixels import pixel_features
from ActiveSegmentationLib.embedding.sampler import GroupBatch, GroupBatchSampler, SliceTable
from ActiveSegmentationLib.embedding.settings import EMBEDDING_PRESETS, EmbeddingSettings, named_settings
from ActiveSegmentationLib.embedding.slices import EmbeddableSlices
from ActiveSegmentationLib.embedding.training import train_encoder
from ActiveSegmentationLib.embedding.vaal import VaalOutcome, VaalSettings, train_vaal

__all__ = [
    "EMBEDDING_PRESETS",
    "INFO_VAE_PRESETS",
    "BatchIds",
    "EmbeddableSlices",
    "EmbeddingSettings",
    "Encoder",
    "EncoderNetwork",
    "GroupBatch",
    "GroupBatchSampler",
    "InfoVae",
    "InfoVaeSettings",
    "LossWeights",
    "SliceTable",
    "VaalOutcome",
    "VaalSettings",
    "ViewSettings",
    "blurred",
    "build_network",
    "cached_embeddings",
    "collapse_diagnostics",
    "contrastive_losses",
    "group_contrastive_loss",
    "load_encoder",
    "load_info_vae",
    "mmd",
    "named_settings",
    "nt_xent",
    "pixel_features",
    "random_views",
    "scaled_similarity",
    "train_encoder",
    "train_info_vae",
    "train_vaal",
]
