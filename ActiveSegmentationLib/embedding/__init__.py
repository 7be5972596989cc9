"""Embeddings, vectors that are near for similar slices: learned metric, autoencoders, graph network, pixels."""

from typing import TYPE_CHECKING

from ActiveSegmentationLib.common.lazy import lazy_names

if TYPE_CHECKING:
    from ActiveSegmentationLib.embedding.augmentation import ViewSettings, blurred, random_views
    from ActiveSegmentationLib.embedding.cache import cached_embeddings
    from ActiveSegmentationLib.embedding.diagnostics import collapse_diagnostics
    from ActiveSegmentationLib.embedding.discrepancy import mmd
    from ActiveSegmentationLib.embedding.encoder import Encoder, load_encoder
    from ActiveSegmentationLib.embedding.encoder_training import train_encoder
    from ActiveSegmentationLib.embedding.graph_network import graph_features
    from ActiveSegmentationLib.embedding.info_vae import InfoVae, load_info_vae, train_info_vae
    from ActiveSegmentationLib.embedding.info_vae_settings import INFO_VAE_PRESETS, InfoVaeSettings
    from ActiveSegmentationLib.embedding.loss_weights import LossWeights
    from ActiveSegmentationLib.embedding.losses import (
        BatchIds,
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
    from ActiveSegmentationLib.embedding.vaal import VaalOutcome, VaalSettings, train_vaal
else:
    __getattr__, __dir__, __all__ = lazy_names(__name__)
