"""The generated cohort, and scribbles drawn from masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from ActiveSegmentationLib.cohort.phantom import STORED_IGNORE_LABEL, write_phantom
from ActiveSegmentationLib.cohort.phantom_anatomy import GROUPS, LV, MYO, RV, Grid, draw_patient, heart_of
from ActiveSegmentationLib.cohort.scribbles import scribble_from_mask
from ActiveSegmentationLib.common.errors import ActiveSegmentationError, Cancelled, JobFailed
from ActiveSegmentationLib.common.progress import Progress

IGNORE_LABEL = 255


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def read(path: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))


def images_of(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.glob("*/*_frame??.nii.gz"))]


def sibling(path: Path, what: str) -> Path:
    return path.with_name(path.name.replace(".nii.gz", f"_{what}.nii.gz"))


def check_scribble(mask: np.ndarray, scribble: np.ndarray, ignore_label: int = IGNORE_LABEL) -> None:
    """A scribble marks pixels with their own class only, every class at least once, unlabelled pixels never."""
    drawn = scribble != ignore_label
    assert scribble.dtype == np.uint8
    assert scribble.shape == mask.shape
    np.testing.assert_array_equal(scribble[drawn], mask[drawn])
    assert set(np.unique(scribble[drawn])) == set(np.unique(mask)) - {IGNORE_LABEL}


def test_layout_is_acdc(phantom_cohort):
    assert sorted(path.name for path in phantom_cohort.iterdir()) == [f"patient00{n}" for n in (1, 2, 3, 4)]
    for folder in phantom_cohort.iterdir():
        info = dict(line.split(": ") for line in (folder / "Info.cfg").read_text(encoding="utf-8").splitlines())
        assert info["Group"] in GROUPS
        frames = [f"{folder.name}_frame{int(info[phase]):02d}" for phase in ("ED", "ES")]
        expected = {f"{frame}{kind}.nii.gz" for frame in frames for kind in ("", "_gt", "_scribble")}
        assert {path.name for path in folder.iterdir()} == expected | {"Info.cfg"}


def test_files_of_a_volume_share_an_oblique_anisotropic_grid(phantom_cohort):
    for path in images_of(phantom_cohort):
        image, mask, scribble = (
            SimpleITK.ReadImage(str(p)) for p in (path, sibling(path, "gt"), sibling(path, "scribble"))
        )
        assert image.GetSize() == mask.GetSize() == scribble.GetSize() == (48, 48, 5)
        assert image.GetPixelID() == SimpleITK.sitkInt16
        assert mask.GetPixelID() == scribble.GetPixelID() == SimpleITK.sitkUInt8
        np.testing.assert_allclose(image.GetSpacing(), (3, 3, 16), rtol=1e-6)
        for other in (mask, scribble):
            np.testing.assert_allclose(other.GetDirection(), image.GetDirection(), atol=1e-6)
            np.testing.assert_allclose(other.GetOrigin(), image.GetOrigin(), atol=1e-3)
        matrix = np.reshape(image.GetDirection(), (3, 3))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-5)
        assert np.abs(matrix).max() < 0.999


def test_default_spacing_is_that_of_acdc(tmp_path):
    folder = write_phantom(tmp_path, patients=1, phases=("ED",), scribbles=False)
    image = SimpleITK.ReadImage(str(images_of(folder)[0]))
    np.testing.assert_allclose(image.GetSpacing(), (1.5, 1.5, 10), rtol=1e-6)
    assert image.GetSize() == (96, 96, 8)
    assert len(images_of(folder)) == 1
    assert not list(folder.rglob("*_scribble*"))


def test_same_seed_same_voxels_and_patients_do_not_depend_on_their_number(tmp_path, phantom_cohort):
    again = write_phantom(tmp_path / "again", patients=2, slices=5, size=(48, 48))
    other = write_phantom(tmp_path / "other", patients=1, slices=5, size=(48, 48), seed=1)
    for path in again.glob("*/*.nii.gz"):
        np.testing.assert_array_equal(read(path), read(phantom_cohort / path.relative_to(again)))
    for path in again.glob("*/Info.cfg"):
        assert path.read_bytes() == (phantom_cohort / path.relative_to(again)).read_bytes()
    assert not np.array_equal(read(images_of(other)[0]), read(images_of(again)[0]))


def test_every_volume_has_all_classes_and_slices_without_any(tmp_path):
    grid = Grid.of(8, (96, 96))
    for number, group in enumerate(GROUPS * 4):
        patient = draw_patient(group, np.random.default_rng(number))
        for systole in (False, True):
            labels = heart_of(patient, systole, grid).labels()
            assert set(np.unique(labels)) == {0, RV, MYO, LV}
            assert (labels == 0).all(axis=(1, 2)).any()


def test_left_cavity_lies_within_the_wall():
    for number, group in enumerate(GROUPS):
        labels = heart_of(draw_patient(group, np.random.default_rng(number)), False, Grid.of(8, (96, 96))).labels()
        for plane in labels:
            around = ndimage.binary_dilation(plane == LV, structure=np.ones((3, 3))) & (plane != LV)
            assert set(np.unique(plane[around])) <= {MYO}


def test_systole_squeezes_the_cavities_and_thickens_the_wall():
    grid = Grid.of(8, (96, 96))
    for number, group in enumerate(GROUPS):
        patient = draw_patient(group, np.random.default_rng(number))
        diastole, systole = (heart_of(patient, phase, grid).labels() for phase in (False, True))
        assert (systole == LV).sum() < (diastole == LV).sum()
        assert (systole == RV).sum() < (diastole == RV).sum()
        thickness = [ndimage.distance_transform_edt(labels[3] == MYO).max() for labels in (diastole, systole)]
        assert thickness[1] >= thickness[0]


def test_groups_look_like_their_disease():
    def sizes(group):
        hearts = (
            heart_of(draw_patient(group, np.random.default_rng(n)), False, Grid.of(8, (96, 96))) for n in range(8)
        )
        return np.mean([np.bincount(heart.labels().ravel(), minlength=4) for heart in hearts], axis=0)

    healthy, dilated, thick, right = (sizes(group) for group in ("NOR", "DCM", "HCM", "RV"))
    assert dilated[LV] > 1.2 * healthy[LV]
    assert thick[MYO] > 1.2 * healthy[MYO]
    assert right[RV] > 1.4 * healthy[RV]


def test_blood_is_brighter_than_muscle_in_every_image_and_contrast_differs(phantom_cohort):
    levels = []
    for path in images_of(phantom_cohort):
        image, mask = read(path), read(sibling(path, "gt"))
        assert image.min() >= 0
        blood, muscle = (np.median(image[mask == label]) for label in (LV, MYO))
        assert blood > 1.4 * muscle
        levels.append(blood)
    assert max(levels) > 1.2 * min(levels)


def test_its_scribbles_are_right_and_sparse(phantom_cohort):
    for path in images_of(phantom_cohort):
        for mask, scribble in zip(read(sibling(path, "gt")), read(sibling(path, "scribble")), strict=True):
            check_scribble(mask, scribble, STORED_IGNORE_LABEL)
            assert (scribble != STORED_IGNORE_LABEL).mean() < 0.2


def test_reports_progress_and_stops_when_asked(tmp_path):
    seen = []

    class Recorder(Progress):
        def show(self, stage, done, total, **values):
            seen.append((done, total))

    write_phantom(tmp_path / "a", patients=2, slices=2, size=(16, 16), progress=Recorder())
    assert seen == [(n, 4) for n in range(5)]
    with pytest.raises(Cancelled):
        write_phantom(tmp_path / "b", patients=2, size=(16, 16), progress=Progress(cancelled=lambda: True))
    assert not list(tmp_path.glob("b/**/*.nii.gz"))


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"slices": 0}, {"size": (8, 48)}, {"phases": ("ED", "XX")}])
def test_impossible_arguments_are_refused(tmp_path, wrong):
    with pytest.raises(ValueError, match="at least 1 patient"):
        write_phantom(tmp_path, **wrong)


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "taken").write_text("x", encoding="utf-8")
    with pytest.raises(ActiveSegmentationError, match="taken"):
        write_phantom(tmp_path / "taken", patients=1, slices=1, size=(16, 16))


def test_a_full_disk_is_named_and_leaves_no_half_file(tmp_path, monkeypatch):
    def fail(image, path, **options):
        Path(path).write_bytes(b"half")
        raise RuntimeError("write failed\nNo space left on device")

    monkeypatch.setattr(SimpleITK, "WriteImage", fail)
    with pytest.raises(JobFailed, match=r"patient001_frame01\.nii\.gz.*No space left"):
        write_phantom(tmp_path, patients=1, slices=1, size=(16, 16))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def disc(shape=(96, 96), centre=(48, 48), radius=20.0) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return np.hypot(rows - centre[0], columns - centre[1]) < radius


@settings(max_examples=60, deadline=None)
@given(
    arrays(np.uint8, st.tuples(st.integers(1, 14), st.integers(1, 14)), elements=st.sampled_from([0, 1, 5, 85, 255])),
    st.integers(0, 2**32 - 1),
)
def test_scribbles_are_right_on_any_mask(mask, seed):
    """Noise masks: parts of single pixels, at the border, no background, values far apart, unlabelled pixels."""
    check_scribble(mask, scribble_from_mask(mask, np.random.default_rng(seed)))


@pytest.mark.parametrize(
    ("centre", "radius"), [((48, 48), 20), ((0, 0), 15), ((95, 40), 30), ((48, 48), 1), ((48, 48), 200)]
)
def test_scribble_of_a_disc_anywhere(centre, radius):
    mask = disc(centre=centre, radius=radius).astype(np.uint8) * 7
    for seed in range(10):
        check_scribble(mask, scribble_from_mask(mask, np.random.default_rng(seed)))


def test_scribble_of_an_empty_slice_is_background_only():
    for seed in range(10):
        scribble = scribble_from_mask(np.zeros((80, 64), np.uint8), np.random.default_rng(seed))
        assert set(np.unique(scribble)) == {0, IGNORE_LABEL}
        assert 0 < (scribble == 0).mean() < 0.05


def test_nothing_is_drawn_where_nothing_is_decided():
    assert (scribble_from_mask(np.full((9, 9), IGNORE_LABEL, np.uint8), rng()) == IGNORE_LABEL).all()


def test_scribble_is_the_generators_doing_only():
    mask = disc().astype(np.uint8)
    first, second = (scribble_from_mask(mask, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, scribble_from_mask(mask, np.random.default_rng(4)))


def test_scribbles_are_thin_curves_of_a_tenth_of_the_structure():
    ring = disc(radius=20) & ~disc(radius=13)
    mask = np.where(disc(radius=13), 3, np.where(ring, 2, 0)).astype(np.uint8)
    for seed in range(20):
        scribble = scribble_from_mask(mask, np.random.default_rng(seed))
        for label in (2, 3):
            drawn = scribble == label
            assert ndimage.distance_transform_edt(np.pad(drawn, 1)).max() <= 2
            assert 0.03 < drawn.sum() / (mask == label).sum() < 0.3
        assert 0.002 < (scribble == 0).mean() < 0.06


def test_small_parts_are_left_out_and_large_ones_are_not():
    mask = (disc(centre=(30, 30), radius=15) | disc(centre=(70, 70), radius=14)).astype(np.uint8)
    mask[2, 90] = 1
    scribble = scribble_from_mask(mask, rng())
    assert (scribble[:48, :48] == 1).any()
    assert (scribble[50:, 50:] == 1).any()
    assert scribble[2, 90] == IGNORE_LABEL


def test_values_that_would_be_confused_are_refused():
    with pytest.raises(ValueError, match="label value of the mask"):
        scribble_from_mask(np.full((4, 4), 4, np.uint8), rng(), ignore_label=4)
    with pytest.raises(ValueError, match="two axes"):
        scribble_from_mask(np.zeros((2, 4, 4), np.uint8), rng())


@pytest.mark.real_data
def test_drawn_scribbles_cover_about_as_much_as_those_people_drew(real_data):
    """Median share of each class that is marked, over slices, within a factor of two of ACDC's own scribbles."""
    shares = {"drawn": [[], [], [], []], "people": [[], [], [], []]}
    source = rng()
    for path in sorted((real_data / "acdc").glob("patient*/*_gt.nii.gz"))[:12]:
        theirs = read(path.with_name(path.name.replace("_gt", "_scribble")))
        for mask, people in zip(read(path).astype(np.uint8), theirs, strict=True):
            drawn = scribble_from_mask(mask, source)
            check_scribble(mask, drawn)
            for label in np.unique(mask):
                area = (mask == label).sum()
                shares["drawn"][label].append((drawn == label).sum() / area)
                shares["people"][label].append((people == label).sum() / area)
    for ours, theirs in zip(shares["drawn"], shares["people"], strict=True):
        assert 0.5 < np.median(ours) / np.median(theirs) < 2
