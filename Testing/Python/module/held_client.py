"""A worker client that runs nothing: jobs wait until the test answers them."""

from __future__ import annotations

from ActiveSegmentationLib.common.signals import Signal


class HeldClient:
    """Keeps every job that it is sent."""

    def __init__(self):
        self.jobs = []
        self.cancelled = []
        self.state = "ready"

    def submit(self, job):
        job.id, job.active = str(len(self.jobs)), True
        self.jobs.append(job)

    def cancel(self, job):
        self.cancelled.append(job)

    def stop(self):
        pass

    def of(self, name):
        """The jobs of this name that wait."""
        return [job for job in self.jobs if job.name == name and job.active]

    def answer(self, name, answer):
        """End the oldest job of this name."""
        job = self.of(name)[0]
        job.active = False
        job.done.emit(answer)

    def answerAll(self, answers):
        """End all jobs, those that are started meanwhile too; ``answers`` by name."""
        while waiting := [job for job in self.jobs if job.active]:
            self.answer(waiting[0].name, answers[waiting[0].name])


def heldIn(monkeypatch, work):
    """Make the jobs of ``work`` wait, without installed packages."""
    client = HeldClient()
    monkeypatch.setattr(work.client, "submit", client.submit)
    monkeypatch.setattr(work.client, "cancel", client.cancel)
    monkeypatch.setattr(work, "aboutToLearn", Signal())
    return client
