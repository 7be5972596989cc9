from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from embedding_fakes import FakeStack

from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.errors import BadInput, Cancelled, JobFailed
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.embedding import (
    EMBEDDING_PRESETS,
    EmbeddingSettings,
    LossWeights,
    build_network,
    load_encoder,
    train_encoder,
)

SMALL = EmbeddingSettings(weights=LossWeights(1, 0.1, 0.3, 0.2), batch_size=8, steps=6, width=8, stem="medium")


class Recorder(Progress):
    """Keeps what is reported; cancels after a number of steps."""

    def __init__(self, stop_after: int | None = None) -> None:
        super().__init__(lambda: stop_after is not None and self.steps >= stop_after)
        self.steps = 0
        self.shown: list[tuple[str, int, int, dict]] = []
        self.messages: list[str] = []

    def update(self, stage, done, total, **values):
        if stage == "Training the learned metric":
            self.steps = done
            self.shown.append((stage, done, total, values))
        super().update(stage, done, total, **values)

    def message(self, text):
        self.messages.append(text)


@pytest.fixture(scope="module")
def stack():
    return FakeStack([[5, 4], [6], [3, 3], [7]])


def train(stack, folder, settings=SMALL, seed=3, **options):
    return train_encoder(stack, stack.rows, settings, seed=seed, folder=folder, **options)


def weights(encoder):
    return {name: value.clone() for name, value in encoder.network.state_dict().items()}


def assert_equal_weights(first, second):
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.fixture(scope="module")
def trained(stack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    recorder = Recorder()
    return train(stack, folder, compute=Compute(progress=recorder)), folder, recorder


def test_every_step_is_reported_with_its_losses(trained):
    _, _, recorder = trained
    assert [(done, total) for _, done, total, _ in recorder.shown] == [(step, 6) for step in range(1, 7)]
    assert all(set(values) == {"loss", "ntxent", "patient", "volume", "slice"} for *_, values in recorder.shown)


def test_losses_are_kept_for_a_plot(trained):
    encoder, folder, _ = trained
    history = json.loads((folder / encoder.key / "losses.json").read_text())
    assert history["steps"] == 6
    assert {name: len(values) for name, values in history["losses"].items()} == dict.fromkeys(
        ("loss", "ntxent", "patient", "volume", "slice"), 6
    )
    parts = {name: np.array(values) for name, values in history["losses"].items()}
    expected = parts["ntxent"] + 0.1 * parts["patient"] + 0.3 * parts["volume"] + 0.2 * parts["slice"]
    np.testing.assert_allclose(parts["loss"], expected, rtol=1e-5)


def test_embeddings_are_finite_numbers_for_each_slice(stack, trained):
    embeddings = trained[0].embed(stack, stack.rows)
    assert embeddings.shape == (len(stack), 64)
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()
    assert trained[0].embed(stack, stack.rows[:0]).shape == (0, 64)


def test_embeddings_are_of_the_rows_asked_for(stack, trained):
    everything, some = trained[0].embed(stack, stack.rows), np.array([7, 2, 20])
    np.testing.assert_allclose(
        trained[0].embed(stack, some, Compute(batch_size=2)), everything[some], rtol=1e-4, atol=1e-5
    )


def test_another_training_with_the_same_seed_gives_the_same_weights(stack, trained, tmp_path):
    assert_equal_weights(weights(train(stack, tmp_path)), weights(trained[0]))


def test_another_seed_gives_other_weights_and_another_key(stack, trained, tmp_path):
    other = train(stack, tmp_path, seed=4)
    assert other.key != trained[0].key
    assert not torch.equal(other.network.trunk.conv1.weight, trained[0].network.trunk.conv1.weight)


def test_the_order_of_the_rows_does_not_matter(stack, trained):
    recorder = Recorder()
    again = train_encoder(stack, stack.rows[::-1], SMALL, seed=3, folder=trained[1], compute=Compute(progress=recorder))
    assert again.key == trained[0].key
    assert recorder.steps == 0


def test_a_finished_encoder_is_loaded(stack, trained):
    encoder, folder, _ = trained
    recorder = Recorder()
    loaded = train(stack, folder, compute=Compute(progress=recorder))
    assert recorder.steps == 0
    assert_equal_weights(weights(loaded), weights(encoder))
    assert (loaded.settings, loaded.record, loaded.channels) == (encoder.settings, encoder.record, encoder.channels)
    np.testing.assert_array_equal(loaded.embed(stack, stack.rows), encoder.embed(stack, stack.rows))


def test_no_checkpoint_is_left_behind(trained):
    encoder, folder, _ = trained
    names = {path.name for path in (folder / encoder.key).iterdir()}
    assert names == {"encoder.safetensors", "encoder.json", "losses.json"}


@pytest.mark.parametrize("stop_after", [1, 2, 5])
def test_a_stopped_training_goes_on_to_the_same_weights(stack, trained, tmp_path, stop_after):
    with pytest.raises(Cancelled):
        train(stack, tmp_path, compute=Compute(progress=Recorder(stop_after)), checkpoint_every=2)
    recorder = Recorder()
    resumed = train(stack, tmp_path, compute=Compute(progress=recorder), checkpoint_every=2)
    assert recorder.shown[0][1] == stop_after // 2 * 2 + 1
    assert_equal_weights(weights(resumed), weights(trained[0]))
    losses = [json.loads((f / resumed.key / "losses.json").read_text()) for f in (tmp_path, trained[1])]
    assert losses[0] == losses[1]


def test_a_damaged_checkpoint_is_reported_and_training_starts_anew(stack, trained, tmp_path):
    with pytest.raises(Cancelled):
        train(stack, tmp_path, compute=Compute(progress=Recorder(3)), checkpoint_every=2)
    (tmp_path / trained[0].key / "checkpoint.pt").write_bytes(b"PK broken")
    recorder = Recorder()
    assert_equal_weights(weights(train(stack, tmp_path, compute=Compute(progress=recorder))), weights(trained[0]))
    assert any("checkpoint cannot be read" in text for text in recorder.messages)


def test_global_state_of_torch_is_left_alone(stack, tmp_path):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(stack, tmp_path, replace(SMALL, steps=1))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.are_deterministic_algorithms_enabled()


def test_global_randomness_has_no_influence(stack, trained, tmp_path):
    torch.manual_seed(99)
    np.random.seed(99)
    assert_equal_weights(weights(train(stack, tmp_path)), weights(trained[0]))


def test_training_runs_where_deterministic_algorithms_are_demanded(stack, tmp_path):
    torch.use_deterministic_algorithms(True)
    try:
        train(stack, tmp_path, replace(SMALL, steps=1, stem="large"))
    finally:
        torch.use_deterministic_algorithms(False)


def test_the_network_learns_what_sets_patients_apart(tmp_path):
    stack = FakeStack([[6], [6], [6], [6]])
    level = 1 + 0.3 * stack.patient_number[:, None, None, None]
    stack.images[:] = np.tile(stack.images[::4], (4, 1, 1, 1)) * level  # the same six slices, brighter for each patient
    settings = replace(SMALL, weights=LossWeights(0, 0, 1, 0), steps=60, learning_rate=2e-3)
    encoder = train(stack, tmp_path, settings)
    losses = json.loads((tmp_path / encoder.key / "losses.json").read_text())["losses"]["loss"]
    unlearned = np.log(15)  # eight slices a batch: each of the 15 other views is as similar as any
    assert np.mean(losses[:5]) == pytest.approx(unlearned, abs=0.2)
    assert np.mean(losses[-10:]) < unlearned - 0.15


def test_a_loss_that_is_not_finite_fails_with_advice(stack, tmp_path):
    broken = FakeStack([[5, 4], [6], [3, 3], [7]], key="broken")
    broken.images[:] = np.nan
    with pytest.raises(JobFailed, match=r"step 1 is not a finite number.*Lower the learning rate"):
        train(broken, tmp_path)
    assert not list(tmp_path.rglob("encoder.json"))


def test_few_patients_are_said_once(tmp_path):
    recorder = Recorder()
    train(
        FakeStack([[6], [6]]),
        tmp_path,
        replace(SMALL, weights=LossWeights(1, 0, 1, 0)),
        compute=Compute(progress=recorder),
    )
    assert len([text for text in recorder.messages if "only 2 patients" in text]) == 1


@pytest.mark.parametrize("patients", [[[1]], [[6]], [[1], [1], [2, 1]]])
def test_the_smallest_cohorts_train(patients, tmp_path):
    stack = FakeStack(patients)
    embeddings = train(stack, tmp_path, replace(SMALL, steps=2)).embed(stack, stack.rows)
    assert np.isfinite(embeddings).all()


def test_no_row_is_refused(stack, tmp_path):
    with pytest.raises(BadInput, match="no slice"):
        train_encoder(stack, stack.rows[:0], SMALL, seed=0, folder=tmp_path)


def test_a_new_cohort_is_embedded_by_the_same_encoder(trained):
    other = FakeStack([[4]], grid=(20, 12), seed=9)
    assert trained[0].embed(other, other.rows).shape == (4, 64)


def test_other_channels_are_refused(trained):
    with pytest.raises(BadInput, match=r"2 channel\(s\).*takes 1"):
        trained[0].embed(FakeStack([[4]], channels=2), np.arange(4))


def test_several_channels_and_shrunk_slices_train(tmp_path):
    stack = FakeStack([[4], [4], [4]], grid=(40, 20), channels=3)
    encoder = train(stack, tmp_path, replace(SMALL, steps=2, longest_side=16, norm="group"))
    assert encoder.settings.input_shape(stack.grid_shape) == (16, 8)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in encoder.network.modules())
    assert encoder.embed(stack, stack.rows).shape == (12, 64)


def test_the_description_says_what_was_done(stack, trained):
    encoder, folder, _ = trained
    about = json.loads((folder / encoder.key / "encoder.json").read_text())
    assert about["settings"]["weights"] == [1, 0.1, 0.3, 0.2]
    assert about["training"]["steps"] == 6
    assert about["training"]["slices"] == len(stack)
    assert set(about["training"]["diagnostics"]) == {"effective rank", "deviation", "cosine"}
    assert EmbeddingSettings.from_json(about["settings"]) == encoder.settings


def test_a_collapsed_metric_is_reported(tmp_path):
    stack = FakeStack([[6], [6], [6]])
    stack.images[:] = 0.5  # nothing to tell apart
    recorder = Recorder()
    encoder = train(stack, tmp_path, replace(SMALL, steps=1), compute=Compute(progress=recorder))
    assert encoder.record["diagnostics"]["effective rank"] < 2
    assert any("hardly distinguishes slices" in text for text in recorder.messages)


@pytest.mark.parametrize("name", ["encoder.safetensors", "encoder.json"])
def test_a_damaged_encoder_is_refused_in_words(stack, tmp_path, name):
    encoder = train(stack, tmp_path, replace(SMALL, steps=1))
    path = tmp_path / encoder.key / name
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BadInput, match=name):
        train(stack, tmp_path, replace(SMALL, steps=1))


def test_weights_of_another_encoder_are_refused(stack, trained, tmp_path):
    trained[0].save(tmp_path)
    about = json.loads((tmp_path / "encoder.json").read_text())
    (tmp_path / "encoder.json").write_text(json.dumps(about | {"key": "other"}))
    with pytest.raises(BadInput, match="was changed after"):
        load_encoder(tmp_path)


@pytest.mark.parametrize("stem", ["large", "medium", "small"])
def test_stems_take_any_size(stem):
    network = build_network(1, EmbeddingSettings(stem=stem), seed=0).eval()
    assert network(torch.zeros(2, 1, 33, 20)).shape == (2, 512)
    assert network.project(torch.zeros(2, 1, 33, 20)).shape == (2, 64)


KILLED = """
import os, sys
import torch
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from embedding_fakes import FakeStack
from ActiveSegmentationLib.common.compute import Compute
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.embedding import EmbeddingSettings, LossWeights, train_encoder

class Killer(Progress):
    def show(self, stage, done, total, **values):
        if done == 3:
            os._exit(9)

stack = FakeStack([[5, 4], [6], [3, 3], [7]])
settings = EmbeddingSettings(weights=LossWeights(1, 0.1, 0.3, 0.2), batch_size=8, steps=6, width=8, stem="medium")
train_encoder(stack, stack.rows, settings, seed=3, folder=sys.argv[2], compute=Compute(progress=Killer()),
checkpoint_every=2)
"""


def test_a_killed_process_is_taken_up_by_another_with_the_same_result(stack, trained, tmp_path):
    words = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]
    root = Path(__file__).parents[3]
    done = subprocess.run(words, cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr
    recorder = Recorder()
    assert_equal_weights(weights(train(stack, tmp_path, compute=Compute(progress=recorder))), weights(trained[0]))
    assert recorder.shown[0][1] == 3


def test_presets_are_valid_and_named_like_the_papers():
    best = EMBEDDING_PRESETS["vepa2024-acdc"]
    assert (best.weights, best.batch_size, best.epochs, best.learning_rate, best.weight_decay) == (
        (1, 0.05, 0.35, 0),
        9,
        100,
        3e-4,
        1e-6,
    )
    assert (EMBEDDING_PRESETS["vepa2024-single-volume"].weights, EMBEDDING_PRESETS["slice"].batch_size) == (
        (1, 0, 0.35, 0),
        8,
    )
    assert EMBEDDING_PRESETS["auto"] == EmbeddingSettings()
    assert all(settings.temperature == 0.5 and settings.steps is None for settings in EMBEDDING_PRESETS.values())
