"""A trained nnU-Net: its predictions are those of nnU-Net's own predictor, and strategies get what they ask for."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch
from nnunet_world import LABELS, SMALL, examples, make_stack, training

from ActiveSegmentationLib.cohort import StackSettings, volume_order
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import (
    Ensemble,
    TrainingTask,
    fit,
    fit_ensemble,
    learner_class,
    predict_volume,
)
from ActiveSegmentationLib.segmentation.export_context import ExportContext
from ActiveSegmentationLib.uncertainty import Dropout, EnsembleSampler, slice_scores
from ActiveSegmentationLib.uncertainty.gradients import gradient_embeddings

pytest.importorskip("nnunetv2", reason="nnU-Net is not installed (pip install nnunetv2)")

SLICES = [("v0", 1), ("v0", 2), ("v2", 3)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    return make_stack(tmp_path_factory.mktemp("nnunet"))


@pytest.fixture(scope="module")
def about(stack):
    """What exports need of the stack."""
    return ExportContext.of(stack, [(1, "disc"), (2, "bar")])


@pytest.fixture(scope="module")
def ensemble(stack, tmp_path_factory):
    """Two 2D models with a loss head."""
    task = TrainingTask(stack, examples(stack, SLICES), LABELS.classes, training(loss_head=True), seed=3)
    return fit_ensemble(task, 2, folder=tmp_path_factory.mktemp("flat"))


@pytest.fixture(scope="module")
def model(ensemble):
    return ensemble.members[0]


@pytest.fixture(scope="module")
def volumetric(stack, tmp_path_factory):
    """A 3D model."""
    settings = training("nnunet-3d")
    task = TrainingTask(stack, examples(stack, SLICES), LABELS.classes, settings, seed=3)
    return fit(task, folder=tmp_path_factory.mktemp("deep"))


def own_prediction(folder, image, monkeypatch, *, mirror: bool, folds=(0,)) -> np.ndarray:
    """Probabilities (C, k, j, i) of an image file by nnU-Net's own predictor.

    It adds up in half precision, in which the weights at the corners of its windows leave logits without digits; here
    it adds up in full precision.
    """
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.inference import predict_from_raw_data

    weights = predict_from_raw_data.compute_gaussian.__wrapped__
    single = functools.lru_cache(functools.partial(weights, dtype=torch.float32))
    monkeypatch.setattr(predict_from_raw_data, "compute_gaussian", single)
    monkeypatch.setattr(torch, "half", torch.float32)
    predictor = predict_from_raw_data.nnUNetPredictor(
        use_mirroring=mirror, device=torch.device("cpu"), allow_tqdm=False
    )
    predictor.initialize_from_trained_model_folder(str(folder), folds)
    pixels, properties = SimpleITKIO().read_images([str(image)])
    return predictor.predict_single_npy_array(pixels, properties, save_or_return_probabilities=True)[1]


@pytest.mark.parametrize("kind", ["model", "volumetric"])
@pytest.mark.parametrize("volume", ["v1", "v2"])  # v2 is resampled, and larger than a patch
def test_predictions_are_those_of_nnunets_own_predictor(request, kind, volume, stack, about, tmp_path, monkeypatch):
    trained = request.getfixturevalue(kind)
    learner = learner_class(trained.settings.learner)
    written = learner.export(trained, tmp_path / "results", "nnunet", about)
    names = ["dataset.json", "dataset_fingerprint.json", "fold_0/checkpoint_final.pth", "plans.json"]
    assert sorted(path.relative_to(tmp_path / "results").as_posix() for path in written) == names
    mirror = volume == "v1"
    settings = replace(trained.settings, options={**SMALL, "mirror": mirror})
    ours = predict_volume(replace(trained, settings=settings), stack, volume).probabilities
    assert ours.shape == (3, *stack.truth(volume, "mask").shape)
    image = stack.folder.parents[1] / "c" / f"{volume}_0000.nii.gz"
    theirs = own_prediction(tmp_path / "results", image, monkeypatch, mirror=mirror)
    ours = volume_order(ours, stack.volume(volume).axis)
    np.testing.assert_allclose(ours, theirs, atol=1e-4)
    assert ours.std() > 0.05


def test_members_of_an_ensemble_are_folds(ensemble, stack, about, tmp_path, monkeypatch):
    learner = learner_class("nnunet-2d")
    learner.export(ensemble, tmp_path, "nnunet", about)
    image = stack.folder.parents[1] / "c" / "v1_0000.nii.gz"
    each = [own_prediction(tmp_path, image, monkeypatch, mirror=False, folds=(number,)) for number in (0, 1)]
    ours = volume_order(predict_volume(ensemble, stack, "v1").probabilities, stack.volume("v1").axis)
    np.testing.assert_allclose(ours, (each[0] + each[1]) / 2, atol=1e-4)
    with pytest.raises(BadInput, match=r"other folds \(fold_1\)"):
        learner.export(ensemble.members[0], tmp_path, "nnunet", about)
    with pytest.raises(BadInput, match=r"exported as 'onnx'.*nnunet"):
        learner.export(ensemble, tmp_path, "onnx", about)


def test_images_stored_in_different_orders_cannot_be_exported(model, about, tmp_path):
    mixed = replace(model, record=model.record | {"slice axis": None})
    with pytest.raises(BadInput, match="stored in different orders"):
        learner_class("nnunet-2d").export(mixed, tmp_path, "nnunet", about)


@pytest.mark.parametrize("kind", ["model", "volumetric"])
def test_predictions_on_the_grid_are_those_in_the_planes(request, kind, stack):
    trained = request.getfixturevalue(kind)
    rows = np.array([12, 3, 15, 4])
    mixed = {}
    for found, planes in trained.iterate_probabilities(stack, rows):
        mixed |= dict(zip(found, planes, strict=True))
    assert list(mixed) == rows.tolist()
    for volume in ("v0", "v2"):
        acquired = np.moveaxis(predict_volume(trained, stack, volume).probabilities, 0, 1)
        on_grid = stack.planes_to_grid(acquired, volume)
        first = int(stack.volume_rows(volume)[0])
        for index, plane in enumerate(on_grid):
            if first + index in mixed:
                np.testing.assert_allclose(mixed[first + index], plane, atol=1e-5)


@pytest.mark.parametrize("spacing", [5, 4])  # with 4 mm it is resampled across slices, and one slab
def test_slabs_of_a_volume_are_predicted_as_the_whole(volumetric, spacing, tmp_path, monkeypatch):
    long = make_stack(tmp_path, kinds=[((40, 40, 36), (spacing, 1, 1))])
    whole = predict_volume(volumetric, long, "v0").probabilities
    monkeypatch.setattr("ActiveSegmentationLib.segmentation.slabs.VALUES_AT_ONCE", 1)
    batches = list(volumetric.plane_batches(long, "v0"))
    assert (len(batches) > 3) == (spacing == 5)
    assert np.concatenate([batch.rows for batch in batches]).tolist() == list(range(40))
    parts = predict_volume(volumetric, long, "v0").probabilities
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    assert whole.std() > 0.05


def test_an_image_of_zeros_is_background(model, stack, tmp_path):
    from ActiveSegmentationLib.segmentation.nnunet.prepared import PreparedImage, prepare

    image = np.zeros((1, 3, 20, 24), dtype=np.float32)
    image[0, 1, 5:15, 6:16] = 100
    data, _, properties = prepare(image, None, (5.0, 1.0, 1.0), model.plan)
    prepared = PreparedImage(data, properties, stack.source_volume("v0").turn, model.plan)
    assert prepared.box == [(1, 2), (5, 15), (6, 16)]
    slices, within = prepared.slices(np.array([0, 1, 2]))
    assert within.tolist() == [False, True, False]
    assert slices.shape == (1, *data.shape[:1], *data.shape[2:])
    planes = prepared.restore(torch.zeros(3, 1, *data.shape[2:]))
    assert planes.shape == (1, 3, 20, 24)
    assert np.allclose(planes[0, :, 5:15, 6:16], 1 / 3)
    assert (planes[0, 0, :5] == 1).all()


def test_dropout_draws_differ_and_are_repeatable(model, volumetric, stack):
    rows = np.arange(4)
    for trained in (model, volumetric):
        names, sampler = ["std", "mutual-information"], Dropout(passes=3, p=0.3)
        scores = [slice_scores(trained, stack, rows, sampler, names=names) for _ in range(2)]
        assert (scores[0]["std"] > 0).all()
        assert np.array_equal(scores[0]["std"], scores[1]["std"])
        assert np.array_equal(scores[0]["mutual-information"], scores[1]["mutual-information"])


def test_members_disagree(ensemble, stack):
    found = slice_scores(ensemble, stack, np.arange(5), EnsembleSampler(), names=["variance"])["variance"]
    assert (found > 0).all()


@pytest.mark.parametrize("layer", ["last", "bottleneck", "decoder"])
@pytest.mark.parametrize("row", [2, 13])  # a slice that fits the patch or is padded, and a larger one
def test_gradients_of_a_slice_are_those_of_autograd(model, stack, layer, row):
    found = gradient_embeddings(model, stack, np.array([row]), layer=layer, loss="cross-entropy")[0]
    images, inside = next(model.network_slices(stack, np.array([row])))
    network, convolutions = model.network, model.network.convolutions(layer)
    assert inside.any()
    if images.shape[2:] != model.plan.patch:
        assert images.shape[2] > model.plan.patch[0]
        assert np.isfinite(found).all()
        assert np.abs(found).max() > 0
        return
    network.eval()
    logits = network(images)
    labels = torch.where(inside, logits.argmax(1), 255)
    loss = torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
    wanted = torch.autograd.grad(loss, [each.weight for each in convolutions])
    np.testing.assert_allclose(found, torch.cat([each.flatten() for each in wanted]).numpy(), rtol=1e-3, atol=1e-6)


def test_features_and_predicted_losses_of_slices(model, ensemble, stack):
    rows = np.array([0, 12, 3])
    features = model.features(stack, rows)
    assert features.shape == (3, model.plan.architecture["features_per_stage"][-1])
    assert np.array_equal(model.features(stack, rows[1:2])[0], features[1])
    wide = model.features(stack, rows, flatten=True)
    assert wide.shape[1] % features.shape[1] == 0
    assert wide.shape[1] > features.shape[1]
    assert ensemble.features(stack, rows).shape == (3, 2 * features.shape[1])
    losses = model.predicted_losses(stack, rows)
    assert losses.shape == (3,)
    assert len(set(losses.tolist())) == 3
    each = [member.predicted_losses(stack, rows) for member in ensemble.members]
    np.testing.assert_allclose(ensemble.predicted_losses(stack, rows), np.mean(each, axis=0), rtol=1e-5)


def test_a_3d_model_says_what_it_lacks(volumetric, stack):
    assert volumetric.capabilities == {"dropout"}
    rows = np.arange(2)
    with pytest.raises(BadInput, match="gives no features"):
        volumetric.features(stack, rows)
    with pytest.raises(BadInput, match="does not give gradients"):
        gradient_embeddings(volumetric, stack, rows, layer="last")


def test_the_prepared_grid_does_not_matter(model, stack, tmp_path):
    fine = make_stack(tmp_path, StackSettings(spacing=0.5))
    assert fine.key != stack.key
    one, two = (predict_volume(Ensemble((model,)), each, "v2").probabilities for each in (stack, fine))
    assert np.array_equal(one, two)
