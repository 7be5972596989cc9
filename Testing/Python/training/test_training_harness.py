"""The training harness: it does every step once, survives being stopped anywhere, and leaves PyTorch's state alone."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from ActiveSegmentationLib.common.errors import Cancelled, JobFailed
from ActiveSegmentationLib.common.progress import Progress
from ActiveSegmentationLib.common.seeds import torch_generator
from ActiveSegmentationLib.training import (
    CHECKPOINT,
    Checkpoints,
    History,
    Learner,
    endless_batches,
    rate_factor,
    run_training,
    seeded_weights,
)


class Line(Learner):
    """Fits a line to noisy points with momentum, whose state a checkpoint must hold."""

    stage = "Fitting a line"

    def __init__(self, steps: int = 12) -> None:
        self.steps, self.device, self.seen = steps, "cpu", []
        with seeded_weights(3):
            self.network = nn.Linear(1, 1)
        self.optimisers = {"line": torch.optim.SGD(self.network.parameters(), 0.05, momentum=0.9)}

    def step(self, number):
        self.seen.append(number)
        x = torch.randn((16, 1), generator=torch_generator(5, "points", number))
        loss = (self.network(x) - 2 * x + 1).square().mean()
        self.optimisers["line"].zero_grad()
        loss.backward()
        self.optimisers["line"].step()
        return {"loss": float(loss.detach()), "slope": float(self.network.weight.detach())}


class Stopping(Progress):
    """Keeps what is reported, and cancels after ``limit`` reports."""

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(lambda: limit is not None and len(self.shown) >= limit)
        self.shown: list[tuple[str, int, int, dict]] = []
        self.messages: list[str] = []

    def show(self, stage, done, total, **values):
        self.shown.append((stage, done, total, values))

    def message(self, text):
        self.messages.append(text)


def weights(learner: Learner) -> list[float]:
    return [float(value) for value in learner.network.state_dict().values()]


def test_every_step_is_done_once_and_reported_with_its_losses():
    learner, progress = Line(), Stopping()
    history = run_training(learner, progress)
    assert learner.seen == list(range(12))
    assert [(stage, done, total) for stage, done, total, _ in progress.shown] == [
        ("Fitting a line", done, 12) for done in range(1, 13)
    ]
    assert progress.shown[-1][3] == {name: round(value, 4) for name, value in history.final_losses().items()}
    assert history.losses["loss"][-1] < history.losses["loss"][0] / 3
    assert history.seconds > 0


@pytest.mark.parametrize(("limit", "resumes_at"), [(1, 0), (3, 4), (5, 4), (11, 8)])
def test_a_training_stopped_anywhere_ends_with_the_same_weights_and_history(tmp_path, limit, resumes_at):
    whole = Line()
    expected = run_training(whole, Progress(), Checkpoints(tmp_path / "whole", "key", every=4))
    folder = tmp_path / "stopped"
    with pytest.raises(Cancelled):
        run_training(Line(), Stopping(limit), Checkpoints(folder, "key", every=4))
    resumed = Line()
    found = run_training(resumed, Progress(), Checkpoints(folder, "key", every=4))
    assert resumed.seen[0] == resumes_at
    assert weights(resumed) == weights(whole)
    assert found.losses == expected.losses
    written = [json.loads((place / "losses.json").read_text()) for place in (tmp_path / "whole", folder)]
    assert written[0] == written[1] == {"steps": 12, "losses": expected.losses}


def test_slow_steps_are_saved_more_often(tmp_path, monkeypatch):
    monkeypatch.setattr("ActiveSegmentationLib.training.checkpoints.SAVE_SECONDS", -1.0)
    with pytest.raises(Cancelled):
        run_training(Line(), Stopping(6), Checkpoints(tmp_path, "key"))
    resumed, whole = Line(), Line()
    run_training(resumed, Progress(), Checkpoints(tmp_path, "key"))
    assert resumed.seen[0] == 7
    run_training(whole, Progress())
    assert weights(resumed) == weights(whole)


def test_a_checkpoint_of_another_training_another_version_or_a_broken_one_is_not_used(tmp_path):
    with pytest.raises(Cancelled):
        run_training(Line(), Stopping(6), Checkpoints(tmp_path, "key", every=2))
    value = torch.load(tmp_path / CHECKPOINT, weights_only=True)
    del value["format"]  # as versions before the common harness wrote it
    torch.save(value, tmp_path / CHECKPOINT)
    progress = Stopping()
    learner = Line()
    run_training(learner, progress, Checkpoints(tmp_path, "key", every=100))
    assert learner.seen == list(range(12))
    assert "another version wrote this checkpoint" in progress.messages[0]
    other = Line()
    run_training(other, Stopping(), Checkpoints(tmp_path, "other", every=100))
    assert other.seen == list(range(12))
    (tmp_path / CHECKPOINT).write_bytes(b"nothing")
    progress = Stopping()
    run_training(Line(), progress, Checkpoints(tmp_path, "key", every=100))
    assert "cannot be read" in progress.messages[0]


def test_a_loss_that_is_not_finite_stops_with_the_number_of_the_step(tmp_path):
    class Broken(Line):
        advice = "Mend it."

        def step(self, number):
            return super().step(number) | ({"loss": math.nan} if number == 2 else {})

    with pytest.raises(
        JobFailed, match=r"Fitting a line diverged: the loss of step 3 is not a finite number. Mend it."
    ):
        run_training(Broken(), Progress(), Checkpoints(tmp_path, "key"))


class OnGpu(Line):
    """Gives its losses as tensors, and pretends that its device is not the CPU."""

    broken: int | None = None

    def __init__(self, steps: int = 50) -> None:
        super().__init__(steps)
        self.device = "meta"

    def step(self, number):
        losses = super().step(number) | ({"loss": math.nan} if number == self.broken else {})
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in losses.items()}


@pytest.fixture
def reads(monkeypatch):
    """Numbers of steps at which losses were read."""
    found = []
    read = History.read

    def counted(history):
        if history._unread:
            found.append(history.step)
        read(history)

    monkeypatch.setattr(History, "read", counted)
    monkeypatch.setattr("ActiveSegmentationLib.training.harness.READ_SECONDS", math.inf)
    return found


def test_losses_on_a_gpu_are_read_from_time_to_time_and_before_every_checkpoint(tmp_path, reads):
    progress, learner = Stopping(), OnGpu()
    history = run_training(learner, progress, Checkpoints(tmp_path, "key", every=30))
    assert reads == [20, 30, 40, 50]
    assert history.losses == run_training(Line(50), Progress()).losses
    shown = [values.get("loss") for _, _, _, values in progress.shown]
    assert shown[:19] == [None] * 19
    assert shown[19:29] == [round(history.losses["loss"][19], 4)] * 10
    assert shown[49] == round(history.losses["loss"][49], 4)


def test_losses_on_a_slow_gpu_are_read_at_every_step(reads, monkeypatch):
    monkeypatch.setattr("ActiveSegmentationLib.training.harness.READ_SECONDS", -1.0)
    run_training(OnGpu(5), Progress())
    assert reads == [1, 2, 3, 4, 5]


def test_a_loss_on_a_gpu_that_is_not_finite_is_in_no_checkpoint(tmp_path, reads):
    class Broken(OnGpu):
        broken = 32

    with pytest.raises(JobFailed, match="the loss of step 33 is not a finite number"):
        run_training(Broken(), Progress(), Checkpoints(tmp_path, "key", every=10))
    assert reads == [10, 20, 30, 40]
    assert len(torch.load(tmp_path / CHECKPOINT, weights_only=True)["history"]["losses"]["loss"]) == 30


def test_the_state_of_pytorch_is_left_alone():
    class Seeding(Line):
        def step(self, number):
            torch.manual_seed(number)
            return super().step(number)

    torch.manual_seed(1)
    before = torch.get_rng_state()
    run_training(Seeding(), Progress())
    assert torch.equal(before, torch.get_rng_state())


def test_batches_go_on_over_epochs_and_those_that_are_done_are_skipped():
    def epoch(number):
        return [(number, batch) for batch in range(3)]

    everything = endless_batches(epoch, 0)
    assert [next(everything) for _ in range(7)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]
    assert next(endless_batches(epoch, 5)) == (1, 2)


@pytest.mark.parametrize("name", ["cosine", "poly", "constant"])
def test_beyond_the_last_step_the_rate_stays_what_it_was_at_the_end(name):
    assert rate_factor(name, 30, 2, 0.0) == rate_factor(name, 2, 2, 0.0)
    assert 0 <= rate_factor(name, 30, 2, 0.0) <= 1


def test_schedules_rise_and_fall():
    cosine, poly, constant = (
        [rate_factor(name, step, 100, 0.1) for step in range(100)] for name in ("cosine", "poly", "constant")
    )
    assert cosine[:10] == poly[:10] == constant[:10] == [(step + 1) / 11 for step in range(10)]
    assert cosine[10] == poly[10] == 1
    assert cosine[55] == pytest.approx(0.5)
    assert poly[55] == pytest.approx(0.5**0.9)
    assert set(constant[10:]) == {1.0}
    assert cosine == sorted(cosine[:11]) + sorted(cosine[11:], reverse=True)


def test_an_empty_history_has_no_step():
    history = History(5)
    assert history.step == 0
    history.add({"a": 1.0, "b": 2.0})
    history.add({"a": 3.0, "b": 4.0})
    assert (history.step, history.final_losses()) == (2, {"a": 3.0, "b": 4.0})
