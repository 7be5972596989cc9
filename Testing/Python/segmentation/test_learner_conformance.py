"""What every learner must do, whatever it trains: learners of this library and of installed packages are found by name.

A learner whose package is missing is skipped with the reason. Settings are those of ``conformance.small_settings``.
"""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from itertools import count

import numpy as np
import pytest
import torch
from conformance import Listener, Trained, World, make_world, small_settings, task_of, train, unlabelled_rows

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled
from ActiveSegmentationLib.segmentation import (
    CAPABILITIES,
    LEARNERS,
    ExportContext,
    NetworkLearner,
    TrainingTask,
    fit,
    lacking,
    learner_class,
    learner_names,
    load_ensemble,
    load_model,
    predict_volume,
)
from ActiveSegmentationLib.segmentation.learners import missing_packages
from ActiveSegmentationLib.training import CHECKPOINT
from ActiveSegmentationLib.uncertainty import Dropout, TestTimeAugmentation
from ActiveSegmentationLib.uncertainty.gradients import gradient_embeddings, parameter_count

pytestmark = pytest.mark.parametrize("name", learner_names())

FEW = 6
"""Steps of a training that need not learn much."""


@pytest.fixture(autouse=True)
def _usable(name):
    missing = missing_packages(name)
    if missing:
        pytest.skip(f"the learner '{name}' needs what is not installed: {', '.join(missing)}")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory):
    """Cohorts by what they differ in, each made once."""
    made: dict[tuple, World] = {}

    def world(**about) -> World:
        key = tuple(sorted(about.items()))
        if key not in made:
            made[key] = make_world(tmp_path_factory.mktemp("cohort"), **about)
        return made[key]

    return world


@pytest.fixture
def world(worlds) -> World:
    return worlds()


@pytest.fixture(scope="module")
def learned(worlds, tmp_path_factory):
    """A model of each learner that was trained on two slices, and that no test may change."""
    made: dict[str, Trained] = {}

    def trained(name: str) -> Trained:
        if name not in made:
            made[name] = train(task_of(name, worlds()), tmp_path_factory.mktemp("model"))
        return made[name]

    return trained


@pytest.fixture(scope="module")
def briefly(worlds, tmp_path_factory):
    """A short training of each learner with augmentation, that no test may change."""
    made: dict[str, Trained] = {}

    def trained(name: str) -> Trained:
        if name not in made:
            task = task_of(name, worlds(), steps=FEW, augment=True)
            torch.manual_seed(1)
            made[name] = train(task, tmp_path_factory.mktemp("brief"))
        return made[name]

    return trained


def weights_of(model) -> dict[str, torch.Tensor]:
    found = {}
    for number, network in enumerate(model.networks()):
        found |= {f"{number}.{key}": value.cpu().clone() for key, value in network.state_dict().items()}
    assert found
    return found


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert list(first) == list(second)
    different = [key for key, value in first.items() if not torch.equal(value, second[key])]
    assert not different


def dice(found: np.ndarray, truth: np.ndarray, classes: int) -> list[float]:
    pairs = [((found == c), (truth == c)) for c in range(1, classes)]
    return [2 * float((a & b).sum()) / float(a.sum() + b.sum()) for a, b in pairs if (a | b).any()]


def test_two_slices_are_learned_by_heart(name, world, learned):
    model = learned(name).model
    predicted = [predict_volume(model, world.stack, volume.id).labels for volume in world.stack.volumes]
    found = np.stack(predicted).reshape(-1, *world.truth.shape[2:])
    rows = world.rows(2)
    assert min(dice(found[rows], world.true_labels(rows), world.classes)) > 0.9
    assert min(dice(found, world.truth.reshape(found.shape), world.classes)) > 0.5  # and something on the others


def test_masks_and_scribbles_are_learned_from(name, world, tmp_path):
    trained = train(task_of(name, world, 4, kinds="mixed"), tmp_path)
    found = np.stack([predict_volume(trained.model, world.stack, v.id).labels for v in world.stack.volumes])
    assert min(dice(found, world.truth, world.classes)) > 0.7


def test_what_the_network_says_of_unlabelled_pixels_changes_no_bit(name, world):
    learner = learner_class(name)
    if learner.learns_from_unlabelled:
        pytest.skip("it learns from unlabelled pixels")
    if not issubclass(learner, NetworkLearner):
        pytest.skip("it has a training of its own, see the next test")
    task = task_of(name, world, 4, kinds="mixed", steps=FEW)

    def trained(amount: float) -> dict[str, torch.Tensor]:
        training = learner(task.stack, task.examples, task.classes, task.settings, seed=task.seed, device="cpu")
        usual, numbers = training.outputs, count()

        def disturbed(maps, size):
            number = next(numbers)
            unlabelled = (training.batch(number)[1] == 255)[:, None]
            assert unlabelled.any()
            found = usual(maps, size)
            noise = torch.randn(found[0].shape, generator=torch.Generator().manual_seed(number))
            return [torch.where(unlabelled, logits + amount * noise, logits) for logits in found]

        training.outputs = disturbed
        for number in range(FEW):
            training.step(number)
        return {key: value.clone() for key, value in training.network.state_dict().items()}

    assert_same(trained(0.0), trained(30.0))


def test_scribbles_are_learned_from_and_unlabelled_pixels_are_not_taken_for_background(name, world, tmp_path):
    if learner_class(name).needs_masks:
        pytest.skip("it learns from masks only")
    trained = train(task_of(name, world, 4, kinds="scribble", bands=True), tmp_path)
    found = np.stack([predict_volume(trained.model, world.stack, v.id).labels for v in world.stack.volumes])
    bands = unlabelled_rows(world.truth.shape[2])
    assert min(dice(found, world.truth, world.classes)) > 0.7
    assert min(dice(found[:, :, bands], world.truth[:, :, bands], world.classes)) > 0.6


def test_a_model_is_saved_and_loaded_with_identical_predictions(name, world, learned, tmp_path):
    trained = learned(name)
    trained.model.save(tmp_path)
    rows = np.arange(3)
    expected = trained.model.probabilities(world.stack, rows)
    for folder in (trained.folder, tmp_path):
        loaded = load_model(folder)
        assert np.array_equal(loaded.probabilities(world.stack, rows), expected)
        assert loaded.settings == trained.task.settings
        assert (loaded.key, loaded.classes) == (trained.task.key, world.classes)
        assert loaded.record["seed"] == 3
        assert loaded.capabilities == trained.model.capabilities
        assert_same(weights_of(loaded), weights_of(trained.model))
    assert np.allclose(expected.sum(1), 1, atol=1e-4)
    assert expected.dtype == np.float32


def test_a_model_is_exported_in_the_formats_of_its_learner(name, world, briefly, tmp_path):
    learner, model = learner_class(name), briefly(name).model
    about = ExportContext.of(world.stack, [(1, "one"), (2, "two")])
    written = learner.export(model, tmp_path / "own", "safetensors", about)
    loaded = load_ensemble(tmp_path / "own")
    assert all(path.is_file() for path in written)
    assert_same(weights_of(loaded), weights_of(model))
    with pytest.raises(BadInput, match=f"as 'onnx'.*{learner.exports[0]}"):
        learner.export(model, tmp_path / "onnx", "onnx", about)
    if "torchscript" not in learner.exports:
        with pytest.raises(BadInput, match=re.escape(learner.exports_no_other)):
            learner.export(model, tmp_path / "script", "torchscript", about)
        return
    learner.export(model, tmp_path / "script", "torchscript", about)
    described = json.loads((tmp_path / "script" / "model.json").read_text())
    script = torch.jit.load(tmp_path / "script" / "model.ts")
    shape = [int(n) for n in re.findall(r"\d+", described["input"])[1:]]  # the first is that of float32
    images = torch.rand(3, *shape, generator=torch.Generator().manual_seed(1))
    if len(shape) == 3:
        expected = model.predict(images)
    else:  # a 3D model takes one slab, and gives its slices
        expected = torch.stack([model.predict(image[None]).transpose(0, 1) for image in images])
    torch.testing.assert_close(script(images), expected, atol=1e-5, rtol=0)
    assert described["classes"] == {"0": "background", "1": "one", "2": "two"}


def test_other_seeds_give_other_weights(name, briefly, tmp_path):
    trained = briefly(name)
    first = weights_of(trained.model)
    other = weights_of(train(replace(trained.task, seed=4), tmp_path).model)
    assert any(not torch.equal(value, other[key]) for key, value in first.items())


def test_equal_seeds_give_equal_weights_also_after_a_stop(name, briefly, tmp_path):
    whole = briefly(name)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    with pytest.raises(Cancelled):
        train(whole.task, tmp_path, listener=Listener(4), every=2)
    reported = Listener()
    resumed = train(whole.task, tmp_path, listener=reported, every=2)
    assert reported.steps[0] > 1  # it did not start again
    assert_same(weights_of(whole.model), weights_of(resumed.model))
    assert torch.equal(before, torch.get_rng_state())
    assert not (tmp_path / CHECKPOINT).exists()
    again = Listener()
    assert_same(weights_of(whole.model), weights_of(train(whole.task, tmp_path, listener=again).model))
    assert again.steps == []  # a finished training is loaded


@pytest.mark.parametrize(
    ("shape", "channels", "classes"), [((16, 16), 1, 2), ((17, 23), 4, 3), ((33, 47), 2, 21), ((50, 31), 3, 3)]
)
def test_any_size_number_of_channels_and_of_classes(name, shape, channels, classes, worlds, tmp_path):
    world = worlds(shape=shape, channels=channels, classes=classes)
    trained = train(task_of(name, world, 1, steps=3), tmp_path)
    assert_predicts(trained, world)


def test_a_large_plane_is_learned_and_predicted_whole(name, worlds, tmp_path):
    side = 1024 if issubclass(learner_class(name), NetworkLearner) else 256  # nnU-Net's windows overlap by half
    slices = 2 if name == "nnunet-3d" else 1  # nnU-Net has no 3D plan for one slice
    world = worlds(shape=(side, side), volumes=1, slices=slices)
    trained = train(task_of(name, world, 1, steps=1, batch_size=1), tmp_path)
    assert_predicts(trained, world)


def assert_predicts(trained: Trained, world: World) -> None:
    volume = world.stack.volumes[0].id
    prediction = predict_volume(trained.model, world.stack, volume)
    assert prediction.labels.shape == world.truth.shape[1:]
    assert prediction.probabilities.shape == (world.classes, *world.truth.shape[1:])
    assert np.allclose(prediction.probabilities.sum(0), 1, atol=1e-3)
    assert all(torch.isfinite(value).all() for value in weights_of(trained.model).values() if value.is_floating_point())


def test_a_class_without_annotation_is_reported(name, world, tmp_path):
    task = task_of(name, world, 1, steps=3)
    labels = task.examples.labels.copy()
    labels[labels == 2] = 0
    listener = Listener()
    names = tuple(f"organ {number}" for number in range(1, world.classes))
    train(replace(task, examples=replace(task.examples, labels=labels), names=names), tmp_path, listener=listener)
    assert any("shows organ 2:" in text for text in listener.texts)


def test_options_are_refused_by_name(name, world):
    learner, task = learner_class(name), task_of(name, world)
    with pytest.raises(BadInput, match="no_such_option"):
        learner.check(replace(task.settings, options={"no_such_option": 1}))
    for option in fields(learner.options):
        usual = getattr(learner.options(), option.name)
        wrong = 7 if isinstance(usual, str) or usual is None else "seven"
        with pytest.raises(BadInput, match=option.name):
            learner.check(replace(task.settings, options={option.name: wrong}))
        with pytest.raises(BadInput, match=option.name):
            replace(task, settings=replace(task.settings, options={option.name: wrong}))
    with pytest.raises(BadInput, match="learning_rate"):
        replace(task.settings, learning_rate=-1.0)


def test_what_it_says_that_it_can_do_is_what_its_models_say(name, learned):
    learner, model = learner_class(name), learned(name).model
    settings = model.settings
    can = learner.capabilities(settings)
    assert can <= set(CAPABILITIES)
    assert lacking(settings) == set(CAPABILITIES) - can
    assert model.capabilities == can - {"loss-head"}  # it was trained without one
    if name in LEARNERS:
        assert LEARNERS[name].needs_masks == learner.needs_masks
        assert LEARNERS[name].exports == learner.exports


def test_dropout_draws_differ_and_repeat(name, world, learned):
    model, sampler = learned(name).model, Dropout(passes=2, p=0.5, seed=1)
    batch = next(iter(model.batches(world.stack, np.arange(3))))
    if "dropout" not in model.capabilities:
        with pytest.raises(BadInput, match="dropout"):
            list(sampler.draws(model, batch.inputs))
        return
    first, second = (batch.of_rows(draw) for draw in sampler.draws(model, batch.inputs))
    assert first.shape[:2] == (3, world.classes)
    assert not torch.equal(first, second)
    assert torch.equal(batch.of_rows(next(sampler.draws(model, batch.inputs))), first)
    plain = [batch.of_rows(model.predict(batch.inputs)) for _ in range(2)]
    assert torch.equal(*plain)
    assert not torch.equal(plain[0], first)


def test_rotated_slices_are_predicted(name, world, learned):
    model, sampler = learned(name).model, TestTimeAugmentation(passes=2, seed=1)
    batch = next(iter(model.batches(world.stack, np.arange(3))))
    if "augmentation" not in model.capabilities:
        with pytest.raises(BadInput, match="rotated"):
            list(sampler.draws(model, batch.inputs))
        return
    draws = list(sampler.draws(model, batch.inputs))
    assert len(draws) == 3
    assert all(draw.shape == (3, world.classes, *world.stack.grid_shape) for draw in draws)
    assert not torch.equal(draws[0], draws[1])


def test_slices_have_features(name, world, learned):
    model, stack, rows = learned(name).model, world.stack, np.array([0, 3, 6])
    if "features" not in model.capabilities:
        with pytest.raises(BadInput, match="features"):
            model.features(stack, rows)
        return
    found = model.features(stack, rows)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert np.abs(found - found[0]).sum(1)[1:].min() > 0
    for row, values in zip(rows, found, strict=True):
        alone = model.features(stack, np.array([row]), compute=Compute(batch_size=1))[0]
        assert alone == pytest.approx(values, abs=1e-4)
    flat = model.features(stack, rows, flatten=True)
    assert len(flat) == 3
    assert flat.shape[1] % found.shape[1] == 0
    for flatten, width in ((False, found.shape[1]), (True, flat.shape[1])):
        assert model.features(stack, rows[:0], flatten=flatten).shape == (0, width)


@pytest.mark.parametrize("layer", ["last", "bottleneck", "decoder"])
def test_gradients_of_a_slice_are_its_own(name, layer, world, learned):
    model, stack, rows = learned(name).model, world.stack, np.array([1, 4])
    if "gradients" not in model.capabilities:
        with pytest.raises(BadInput, match="gradients"):
            gradient_embeddings(model, stack, rows, layer=layer)
        return
    found = gradient_embeddings(model, stack, rows, layer=layer, loss="cross-entropy")
    assert found.shape == (2, parameter_count(model, layer))
    network = model.networks()[0]
    for row, values in zip(rows, found, strict=True):
        network.zero_grad()
        images, inside = next(model.network_slices(stack, np.array([row])))
        logits = network(images)
        labels = torch.where(inside, logits.argmax(1), 255)
        torch.nn.functional.cross_entropy(logits, labels, ignore_index=255).backward()
        slow = torch.cat([conv.weight.grad.flatten() for conv in network.convolutions(layer)]).numpy()
        assert values == pytest.approx(slow, abs=1e-5 + 1e-3 * float(np.abs(slow).max()))
        assert np.abs(slow).max() > 0
    network.zero_grad()
    with pytest.raises(BadInput, match="no part called 'middle'"):
        gradient_embeddings(model, stack, rows, layer="middle")


def test_a_loss_head_learns_with_it(name, world, learned, tmp_path):
    learner, plain = learner_class(name), learned(name).model
    settings = small_settings(name, loss_head=True, steps=FEW)
    if "loss-head" not in learner.capabilities(settings):
        with pytest.raises(BadInput, match="loss_head"):
            learner.check(settings)
        return
    with pytest.raises(BadInput, match="no head"):
        plain.predicted_losses(world.stack, np.arange(2))
    trained = train(replace(task_of(name, world, 4), settings=settings), tmp_path)
    assert "loss-head" in trained.model.capabilities
    found = trained.model.predicted_losses(world.stack, np.arange(5))
    assert found.shape == (5,)
    assert np.isfinite(found).all()
    assert len(set(found.tolist())) == 5
    assert np.array_equal(load_model(tmp_path).predicted_losses(world.stack, np.arange(5)), found)


def test_a_training_may_start_from_an_earlier_model(name, world, learned, tmp_path):
    earlier = learned(name).model
    before = weights_of(earlier)
    task = task_of(name, world, 3, steps=1, learning_rate=1e-7, warm_start=True)
    warm = fit(replace(task, initial=earlier), folder=tmp_path / "warm", compute=Compute(progress=Listener()))
    cold = fit(task, folder=tmp_path / "cold", compute=Compute(progress=Listener()))
    assert_same(before, weights_of(earlier))
    rows = np.arange(4)
    expected, near, far = (each.probabilities(world.stack, rows) for each in (earlier, warm, cold))
    assert np.abs(near - expected).mean() < np.abs(far - expected).mean() / 2
    assert warm.key != cold.key


def test_a_model_of_other_classes_is_not_a_start(name, worlds, learned):
    other = worlds(shape=(33, 47), channels=2, classes=21)
    task = task_of(name, other, 1, warm_start=True)
    with pytest.raises(BadInput, match="another shape"):
        TrainingTask(task.stack, task.examples, task.classes, task.settings, seed=0, initial=learned(name).model)
