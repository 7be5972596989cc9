"""Training presets: settings of learners by name, those of this library and those of papers."""

from __future__ import annotations

from dataclasses import replace

from ActiveSegmentationLib.segmentation.settings import AugmentationSettings, TrainingSettings

_VEPA2024 = TrainingSettings(
    steps=30_000,
    batch_size=6,
    learning_rate=0.01,
    weight_decay=1e-4,
    optimiser="sgd",
    nesterov=False,
    schedule="poly",
    warm_up=0.0,
    clip=0.0,
    features=(16, 32, 64, 128, 256),
    upsample="bilinear",
    norm="batch",
    dropout_place="first",
    dice_absent=True,
    dropout=(0.05, 0.1, 0.2, 0.3, 0.5),
    decoder_dropout=(0.0, 0.0, 0.0, 0.0),
    dice_background=True,
    dice_squared=True,
    select="best",
    validate_every=200,
    augmentation=AugmentationSettings(
        probability=0.5,
        rotation=20.0,
        scale=0.0,
        shift=0.0,
        flip_rows=True,
        flip_columns=True,
        quarter_turns=True,
        gamma=0.0,
        contrast=0.0,
        brightness=0.0,
        noise=0.0,
    ),
)
"""Of the released code of Vepa et al. 2024, which is WSL4MIS' U-Net for full supervision."""

_OZDEMIR2021 = TrainingSettings(
    steps=8_000,
    batch_size=8,
    learning_rate=5e-4,
    weight_decay=0.0,
    optimiser="adam",
    schedule="constant",
    warm_up=0.0,
    clip=0.0,
    features=(16, 32, 64, 128, 256),
    norm="batch",
    dropout=(0.0, 0.5, 0.5, 0.5, 0.5),
    decoder_dropout=(0.5, 0.5, 0.5, 0.5),
    dropout_place="entry",
    dropout_kind="channels",
    dice_share=0.0,
    class_weights="inverse",
    augmentation=AugmentationSettings(
        probability=0.0,
        rotation=0.0,
        scale=0.0,
        shift=0.0,
        flip_columns=True,
        gamma=0.0,
        contrast=0.0,
        brightness=0.0,
        noise=0.0,
    ),
)
"""What Ozdemir et al. 2021 state of the training of their segmentation network."""

_GAILLOCHET2023 = TrainingSettings(
    steps=18_750,
    batch_size=4,
    learning_rate=2e-4,
    weight_decay=1e-4,
    optimiser="adam",
    schedule="cosine",
    warm_up=10 / 75,
    clip=0.0,
    features=(64, 128, 256, 512),
    norm="batch",
    dropout=(0.0, 0.5, 0.5, 0.5),
    decoder_dropout=(0.5, 0.5, 0.5),
    dropout_place="entry",
    dice_share=0.0,
    augmentation=AugmentationSettings(
        probability=1.0,
        rotation=10.0,
        scale=0.0,
        shift=0.0,
        gamma=0.0,
        contrast=0.0,
        brightness=0.0,
        noise=0.0,
        noise_of_range=0.01,
    ),
)
"""What Gaillochet et al. 2023 state of their training."""

_WIDER = AugmentationSettings(rotation=30.0, scale=0.25, shift=0.1, gamma=0.5, contrast=0.3, brightness=0.2)
"""Wider than the default's; better on heart slices (docs/experiments/learners.md)."""

TRAINING_PRESETS: dict[str, TrainingSettings] = {
    "default": TrainingSettings(),
    "auto": TrainingSettings(
        learner="auto", minutes=5.0, augmentation=_WIDER, close_background=True, scribble_dice=True
    ),
    "unet3d": TrainingSettings(learner="unet3d", batch_size=2, norm="instance"),
    "closed-scribbles": TrainingSettings(close_background=True),
    "vepa2024": _VEPA2024,
    "dmpls": replace(_VEPA2024, learner="dmpls", cross_entropy_mean="pixels"),
    "resnet50-unet": TrainingSettings(
        epochs=50,
        batch_size=8,
        learning_rate=1e-4,
        weight_decay=0.0,
        optimiser="adam",
        schedule="constant",
        warm_up=0.0,
        clip=1.0,
        features=(16, 32, 64, 128, 256),
        dropout=(0.0, 0.0, 0.0, 0.0, 0.0),
        decoder_dropout=(0.0, 0.0, 0.0, 0.0),
        dice_background=True,
        select="best",
        validate_every=5,
        augmentation=_VEPA2024.augmentation,
        learner="resnet50-unet",
    ),
    "gaillochet2023": _GAILLOCHET2023,
    "gaillochet2023-released": replace(
        _GAILLOCHET2023, learning_rate=1e-4, dice_share=0.5, dice_of="slices", dice_absent=True
    ),
    "ozdemir2021": replace(_OZDEMIR2021, learner="dcan"),
    "ozdemir2021-unet": _OZDEMIR2021,
    "dcan": replace(_OZDEMIR2021, learner="dcan"),
    "nnunet-2d": TrainingSettings(learner="nnunet-2d", steps=75_000),
    "nnunet-3d": TrainingSettings(learner="nnunet-3d", steps=75_000),
    "foellmer2024": TrainingSettings(
        learner="nnunet-2d", steps=75_000, warm_start=True, options={"dropout": 0.01, "plan": "cohort"}
    ),
}
"""Settings by name.

"default" was chosen by measurement for small grids on a CPU; "auto" fits the network to cohort and device, and trains
for five minutes. The others follow Vepa et al. (NeurIPS 2024; "vepa2024" is for masks, "dmpls" for scribbles),
Gaillochet et al. (Medical Image Analysis 2023; "gaillochet2023-released" as their code), Ozdemir et al. (2021;
"ozdemir2021", which is also "dcan"; "ozdemir2021-unet" trains a U-Net in the same way) and Foellmer et al. (MIDL 2024).
Trainings of nnU-Net are 300 epochs of 250 steps, as in the last of these papers. docs/strategies.md lists the
differences that remain.
"""
