"""Exported MONAI bundles: MONAI itself runs them, and gives the labels of this library's own predictions."""

from __future__ import annotations

import contextlib
import io
import json
import runpy
import sys
from dataclasses import replace

import nibabel
import numpy as np
import pytest
import torch
from conformance import World, make_world, task_of, train

from ActiveSegmentationLib.cohort import StackSettings, build_stack, discover
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.segmentation import (
    Ensemble,
    ExportContext,
    NetworkLearner,
    learner_class,
    predict_volume,
)
from ActiveSegmentationLib.segmentation.exported_network import exported_network, script_of

STEPS = 12
VALUES = (3, 7)
"""Label values of the classes."""


def prepared(folder, settings, **about) -> World:
    """A cohort whose slices are prepared in another way than by default."""
    world = make_world(folder, **about)
    return World(build_stack(discover(folder), settings, folder / "other"), world.truth, world.classes)


def exported(model, world, folder):
    about = ExportContext.of(world.stack, [(value, f"structure {value}") for value in VALUES])
    return learner_class(model.members[0].settings.learner).export(model, folder, "monai-bundle", about)


def run_bundle(folder, images, out, monkeypatch):
    """What its README says to type, with probabilities."""
    words = ["run", "--config_file", "configs/inference.json", "--meta_file", "configs/metadata.json"]
    words += ["--bundle_root", ".", "--dataset_dir", str(images), "--output_dir", str(out)]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["monai.bundle", *words, "--save_probabilities", "true"])
    with contextlib.redirect_stdout(io.StringIO()):
        runpy.run_module("monai.bundle", run_name="__main__")
    assert torch.is_grad_enabled()


def volume_of(path) -> np.ndarray:
    """Values (..., k, j, i) of a NIfTI file."""
    return np.asarray(nibabel.load(path).dataobj).T


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "about", "settings", "stack"),
    [
        (
            "unet",
            {"channels": 2, "shape": (33, 40)},
            {"neighbours": 1},
            {"spacing": 0.0, "size": (33, 40), "normalisation": "zscore"},
        ),
        ("unet", {}, {}, {"spacing": 1.3}),
        ("unet", {}, {}, {"spacing": 0.8, "size": (24, 33), "normalisation": "window", "window": (400.0, 900.0)}),
        ("unet", {}, {}, {"stretch": True, "size": (24, 48)}),
        ("unet", {"channels": 2}, {}, {"spacing": 0.0, "size": (20, 21), "crop": True, "channels": (1,)}),
        ("unet3d", {"slices": 9}, {}, {"spacing": 0.9}),
    ],
    ids=["neighbours", "smoothed", "windows", "stretched", "cropped", "volumes"],
)
def test_monai_gives_the_same_labels(name, about, settings, stack, tmp_path, monkeypatch):
    world = prepared(tmp_path / "cohort", StackSettings(**stack), **about)
    model = Ensemble((train(task_of(name, world, steps=STEPS, **settings), tmp_path / "model").model,))
    exported(model, world, tmp_path / "bundle")
    run_bundle(tmp_path / "bundle", tmp_path / "cohort" / "imagesTr", tmp_path / "out", monkeypatch)
    for volume in world.stack.volumes:
        ours = predict_volume(model, world.stack, volume.id)
        (labels,) = (tmp_path / "out").glob(f"{volume.id}*_seg.nii.gz")
        (probabilities,) = (tmp_path / "out").glob(f"{volume.id}*_probabilities.nii.gz")
        np.testing.assert_allclose(volume_of(probabilities), ours.probabilities, atol=2e-3)
        same = volume_of(labels) == np.array([0, *VALUES])[ours.labels]
        two_best = np.sort(ours.probabilities, axis=0)[-2:]
        assert same[two_best[1] - two_best[0] > 5e-3].all()
        assert same.mean() > 0.999
        assert len(np.unique(ours.labels)) > 1


def test_a_bundle_describes_its_model(tmp_path):
    world = make_world(tmp_path / "cohort")
    first = train(task_of("unet", world, steps=1), tmp_path / "model").model
    model = Ensemble((first, replace(first)))
    written = exported(model, world, tmp_path / "bundle")
    assert {path.relative_to(tmp_path / "bundle").as_posix() for path in written} == {
        "LICENSE",
        "configs/inference.json",
        "configs/logging.conf",
        "configs/metadata.json",
        "docs/README.md",
        "models/model.ts",
    }
    about = json.loads((tmp_path / "bundle" / "configs" / "metadata.json").read_text())
    data = about["network_data_format"]
    assert data["inputs"]["image"]["spatial_shape"] == [40, 40]
    assert data["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "structure 3", "2": "structure 7"}
    assert about["activesegmentation"]["model"] == model.key
    readme = (tmp_path / "bundle" / "docs" / "README.md").read_text()
    assert "| 7 | structure 7 |" in readme


def test_an_ensemble_is_one_network_and_the_model_stays_as_it_is(tmp_path):
    world = make_world(tmp_path / "cohort")
    tasks = [task_of("unet", world, steps=1, learning_rate=rate) for rate in (0.1, 0.2)]
    members = [train(task, tmp_path / task.key).model for task in tasks]
    before = members[0].network.training
    network = exported_network(Ensemble(tuple(members)))
    images = torch.rand(2, 1, 40, 40)
    expected = sum(member.predict(images) for member in members) / 2
    torch.testing.assert_close(network(images), expected)
    assert members[0].network.training == before
    assert all(each.requires_grad for each in members[0].network.parameters())


class Branching(torch.nn.Module):
    """Does something else for larger values, which no trace of it can hold."""

    channels, window = 1, (4, 4)

    def forward(self, images):
        return images * 2 if images.sum() > 20 else images


def test_a_network_that_cannot_be_traced_is_refused():
    with pytest.raises(BadInput, match="does not compute what the model does"):
        script_of(Branching())


def test_learners_that_have_no_format_refuse_it(tmp_path):
    with pytest.raises(BadInput, match=r"cannot be exported as 'nnunet'\. Choose one of: monai-bundle"):
        NetworkLearner.export(None, tmp_path, "nnunet", None)
