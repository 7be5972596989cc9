from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ActiveSegmentationLib.cohort import AnnotationKind, Geometry
from ActiveSegmentationLib.common.errors import BadInput, JobFailed
from ActiveSegmentationLib.study import Label, LabelSet
from ActiveSegmentationLib.study.segment_file import Encoding, read_foreign_segments, read_segments, write_segments

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)
GRID = Geometry((6, 5, 4), (1.5, 1.25, 8.0), (-10.5, 20.25, 3.0), OBLIQUE)
LABELS = LabelSet((Label(5, "Niere links", (1.0, 0.5, 0.25), "x~SCT^1^Tissue~y"), Label(85, "Tumör", (0.0, 1.0, 0.0))))


def header_of(path):
    """Fields of a NRRD header, read without any library, as Slicer's reader sees them."""
    text = path.read_bytes().split(b"\n\n", 1)[0].decode()
    return dict(line.split(":=", 1) for line in text.splitlines() if ":=" in line), text


@pytest.fixture
def stored():
    return np.random.default_rng(3).choice(np.array([0, 5, 85], np.uint8), GRID.array_shape)


def write(path, stored, geometry=GRID, labels=LABELS):
    write_segments(path, stored, geometry, labels, Encoding(labels.background_value), "Anna|B")


def test_header_says_what_slicer_needs(tmp_path, stored):
    path = tmp_path / "x.seg.nrrd"
    write(path, stored)
    fields, text = header_of(path)
    assert "encoding: gzip" in text
    assert "type: unsigned char" in text
    assert "dimension: 3" in text
    assert fields["Segmentation_MasterRepresentation"] == "Binary labelmap"
    assert fields["Segmentation_ContainedRepresentationNames"] == "Binary labelmap|"
    assert fields["Segmentation_ReferenceImageExtentOffset"] == "0 0 0"
    assert fields["Segment0_ID"] == "Segment_5"
    assert fields["Segment0_Name"] == "Niere links"
    assert fields["Segment0_LabelValue"] == "5"
    assert fields["Segment0_Layer"] == "0"
    assert fields["Segment0_Color"] == "1 0.5 0.25"
    assert fields["Segment0_Extent"] == "0 5 0 4 0 3"
    assert fields["Segment1_Name"] == "Tumör"
    assert fields["Segment1_LabelValue"] == "85"
    assert "Segment2_Name" not in fields
    tags = dict(tag.split(":", 1) for tag in fields["Segment0_Tags"].strip("|").split("|"))
    assert tags["TerminologyEntry"] == "x~SCT^1^Tissue~y"
    assert tags["Segmentation.Status"] == "inprogress"
    assert tags["ActiveSegmentation.Annotator"] == "Anna/B"
    other = dict(tag.split(":", 1) for tag in fields["Segment1_Tags"].strip("|").split("|"))
    assert other["TerminologyEntry"].count("~") == 6


def test_background_and_unlabelled_are_segments_where_they_occur(tmp_path, stored):
    stored[0, 0, :2] = (LABELS.background_value, 255)
    write(tmp_path / "x.seg.nrrd", stored)
    fields, _ = header_of(tmp_path / "x.seg.nrrd")
    assert (fields["Segment2_Name"], fields["Segment2_LabelValue"]) == ("Background", "254")
    assert (fields["Segment3_Name"], fields["Segment3_LabelValue"]) == ("Undecided", "255")


def test_grid_and_pixels_survive(tmp_path, stored):
    import SimpleITK

    path = tmp_path / "x.seg.nrrd"
    write(path, stored)
    assert np.array_equal(read_segments(path, GRID), stored)
    image = SimpleITK.ReadImage(str(path))
    read = Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    assert GRID.difference(read, tolerance=1e-9) is None
    with pytest.raises(BadInput, match="6 x 5 x 4 voxels, the volume 6 x 5 x 3"):
        read_segments(path, Geometry((6, 5, 3), GRID.spacing, GRID.origin, GRID.direction))


@given(st.integers(0, 2**32 - 1), st.sampled_from(list(AnnotationKind)))
def test_encoding_round_trip(seed, kind):
    encoding = Encoding(254)
    labels = np.random.default_rng(seed).choice(np.array([0, 5, 85, 255], np.uint8), (3, 4))
    stored = encoding.encode(labels, kind)
    assert np.array_equal(encoding.decode(stored, kind), labels)
    undrawn = 255 if kind == AnnotationKind.SCRIBBLE else 0
    assert np.array_equal(stored == 0, labels == undrawn)


def test_what_cannot_be_read_back_does_not_count(tmp_path, stored, monkeypatch):
    import SimpleITK

    real = SimpleITK.ReadImage
    monkeypatch.setattr(SimpleITK, "ReadImage", lambda name: real(name) * 0)
    with pytest.raises(JobFailed, match="completely"):
        write(tmp_path / "x.seg.nrrd", stored)
    assert list(tmp_path.iterdir()) == []


def slicer_file(path, array, names, *, start=(0, 0, 0), grid=GRID):
    """A segmentation as Slicer saves it: segments numbered by their order, cropped to what is drawn."""
    import SimpleITK

    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing(grid.spacing)
    image.SetDirection(grid.direction)
    offset = np.reshape(grid.direction, (3, 3)) @ (np.array(start) * grid.spacing)
    image.SetOrigin((np.array(grid.origin) + offset).tolist())
    for number, name in enumerate(names):
        image.SetMetaData(f"Segment{number}_Name", name)
        image.SetMetaData(f"Segment{number}_LabelValue", str(number + 1))
    SimpleITK.WriteImage(image, str(path), True)


@pytest.mark.parametrize("unlabelled", ["Undecided", "Unlabelled", "unlabelled "])
def test_segments_from_slicer_are_matched_by_name_and_place(tmp_path, unlabelled):
    path = tmp_path / "v.seg.nrrd"
    part = np.random.default_rng(0).integers(0, 5, (2, 3, 4)).astype(np.uint8)
    slicer_file(path, part, ["tumör", "Background", "niere links ", unlabelled], start=(1, 2, 1))
    meaning = {0: 255, 1: 85, 2: 0, 3: 5, 4: 255}
    for kind, rest in ((AnnotationKind.SCRIBBLE, 255), (AnnotationKind.MASK, 0)):
        expected = np.full(GRID.array_shape, rest, np.uint8)
        meaning[0] = rest
        for (k, j, i), value in np.ndenumerate(part):
            expected[k + 1, j + 2, i + 1] = meaning[int(value)]
        assert np.array_equal(read_foreign_segments(path, GRID, LABELS, kind), expected)


def test_a_label_of_an_older_study_may_be_called_unlabelled(tmp_path):
    labels = LabelSet.from_names({3: "Unlabelled"})
    path = tmp_path / "v.seg.nrrd"
    slicer_file(path, np.ones(GRID.array_shape, np.uint8), ["Unlabelled"])
    assert (read_foreign_segments(path, GRID, labels, AnnotationKind.MASK) == 3).all()


def test_foreign_segments_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "v.seg.nrrd"
    ones = np.ones((2, 3, 4), np.uint8)
    cases = [
        (dict(array=ones, names=["spleen"]), "not in the label set: 'spleen'.*Niere links, Tumör"),
        (dict(array=ones, names=[]), "none"),
        (dict(array=ones * 3, names=["Tumör"]), "without a segment: 3"),
        (dict(array=ones, names=["Tumör"], start=(3, 0, 0)), "reaches beyond"),
        (dict(array=ones, names=["Tumör"], start=(-1, 0, 0)), "reaches beyond"),
        (dict(array=ones, names=["Tumör"], start=(0.5, 0, 0)), "between"),
        (
            dict(array=ones, names=["Tumör"], grid=Geometry(GRID.size, (1.5, 1.25, 4.0), GRID.origin, OBLIQUE)),
            "spacing",
        ),
        (dict(array=ones, names=["Tumör"], grid=Geometry(GRID.size, GRID.spacing, GRID.origin)), "orientation"),
    ]
    for arguments, message in cases:
        slicer_file(path, **arguments)
        with pytest.raises(BadInput, match=message):
            read_foreign_segments(path, GRID, LABELS, AnnotationKind.MASK)


def test_overlapping_layers_are_refused(tmp_path):
    import SimpleITK

    path = tmp_path / "v.seg.nrrd"
    layers = SimpleITK.GetImageFromArray(np.ones((4, 5, 6, 2), np.uint8), isVector=True)
    SimpleITK.WriteImage(layers, str(path))
    with pytest.raises(BadInput, match="overlapping"):
        read_foreign_segments(path, GRID, LABELS, AnnotationKind.MASK)
