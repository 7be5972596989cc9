"""The learner of new studies for which none was chosen."""

from __future__ import annotations

import pytest

from ActiveSegmentationLib.api import create_study
from ActiveSegmentationLib.cohort import StackSettings, discover, write_phantom
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.loop import LoopSettings, study_settings
from ActiveSegmentationLib.segmentation import training_for
from ActiveSegmentationLib.study import usual_learner, with_usual_learner


@pytest.fixture(scope="module", params=[(40, 40), (64, 200)])
def cohort(request, tmp_path_factory):
    return discover(write_phantom(tmp_path_factory.mktemp("cohort"), patients=1, slices=2, size=request.param))


def test_scribbles_and_large_slices_get_the_learner_that_fits_itself(cohort):
    large = max(cohort.volumes[0].plane_shape) > 160
    assert usual_learner(cohort, "scribble", StackSettings()) == "auto"
    assert usual_learner(cohort, "mask", StackSettings()) == ("auto" if large else "unet")
    assert usual_learner(cohort, "mask", StackSettings(size=(32, 32))) == "unet"


def test_a_new_study_trains_with_the_settings_of_its_learner(cohort, tmp_path):
    study = create_study(tmp_path / "study", cohort, annotation="scribble")
    assert study_settings(study).training == training_for(learner="auto")
    assert with_usual_learner({"training": {}}, cohort, "scribble") == {"training": {}}


@pytest.mark.parametrize("stack", [{"size": "x"}, 5, {"bogus": 1}])
def test_settings_that_cannot_be_used_are_named(cohort, stack):
    with pytest.raises(BadInput, match="stack"):
        with_usual_learner({"stack": stack}, cohort, "mask")


def test_settings_that_were_given_stay(cohort, tmp_path):
    study = create_study(tmp_path / "study", cohort, annotation="scribble", settings=LoopSettings())
    assert study_settings(study).training.learner == "unet"
