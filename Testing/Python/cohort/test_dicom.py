"""Folders of DICOM files as devices, archives and anonymisers write them."""

from __future__ import annotations

import importlib.util
import shutil
import tracemalloc

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import (
    AXIAL,
    CORONAL,
    SAGITTAL,
    add_pixels,
    compress,
    encode_jpeg,
    header,
    pixels,
    save,
    write_enhanced,
    write_segmentation,
    write_series,
    write_slice,
)
from pydicom.fileset import FileSet
from pydicom.uid import (
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    RTStructureSetStorage,
    SecondaryCaptureImageStorage,
)

from ActiveSegmentationLib.cohort import AnnotationKind, Cohort, discover, read_image, read_labels
from ActiveSegmentationLib.cohort.dicom import planes as planes_module
from ActiveSegmentationLib.common.errors import BadInput


def messages(cohort: Cohort, severity: str | None = None) -> str:
    """All problems as one text."""
    return "\n".join(f"{p.where}: {p.message} {p.advice}" for p in cohort.problems if severity in (None, p.severity))


def sizes(cohort: Cohort) -> list[tuple[int, int, int]]:
    return [volume.geometry.size for volume in cohort.volumes]


def only_image(folder) -> np.ndarray:
    cohort = discover(folder)
    assert len(cohort.volumes) == 1, messages(cohort)
    return read_image(cohort, cohort.volumes[0])


# ------------------------------------------------------------------------------------------------ values


@pytest.mark.parametrize("slopes", [(1, 0.37, 2.5, 1e-4), (2, 0.5, 300.25, 0.001), (1e-8, 2e-8, 3e-8, 4e-8)])
def test_every_slice_has_its_own_rescale(tmp_path, slopes):
    array = pixels()
    write_series(tmp_path, array, Modality="PT", tags=lambda k: {"RescaleSlope": slopes[k], "RescaleIntercept": -2.0})
    expected = array.astype(np.float64) * np.reshape(slopes, (4, 1, 1)) - 2
    found = only_image(tmp_path)[0]
    assert found.dtype == np.float32
    assert np.allclose(found, expected, rtol=1e-6, atol=0)


def test_bits_beyond_the_stored_ones_and_signs(tmp_path):
    array = np.arange(-60, 60, dtype=np.int16).reshape(4, 6, 5)
    stored = (array.astype(np.uint16) & 0x0FFF) | 0x5000  # an overlay in the upper bits, as old devices have it
    write_series(tmp_path, stored.view(np.int16), BitsStored=12, HighBit=11, PixelRepresentation=1)
    assert np.array_equal(only_image(tmp_path)[0], array)


def test_monochrome1_is_reported_and_not_changed(tmp_path):
    write_series(tmp_path, pixels(), PhotometricInterpretation="MONOCHROME1")
    cohort = discover(tmp_path)
    assert "MONOCHROME1" in messages(cohort, "warning")
    assert np.array_equal(read_image(cohort, cohort.volumes[0])[0], pixels())


@pytest.mark.parametrize("slope", ["NaN", "x", "inf"])
def test_a_slope_that_is_not_a_number_is_named(tmp_path, slope):
    write_series(tmp_path / "good", pixels(), PatientID="P2")
    for file in write_series(tmp_path / "bad", pixels(), RescaleSlope="1.25", RescaleIntercept="0"):
        file.write_bytes(file.read_bytes().replace(b"1.25", slope.encode().ljust(4)[:4]))
    cohort = discover(tmp_path)
    assert [volume.patient for volume in cohort.volumes] == ["P2"]
    assert "RescaleSlope" in messages(cohort, "error")


@pytest.mark.parametrize("compressor", ["JPEG", "JPEG2000", "JPEG-LS", "RLE"])
@pytest.mark.parametrize("cut", [0, 60])
def test_lossless_compression(tmp_path, compressor, cut):
    array = pixels((4, 32, 40)) - 300
    files = write_series(tmp_path, array, RescaleSlope=0.5, RescaleIntercept=-3, Modality="PT")
    for file in files:
        compress(file, compressor)
    files[3].write_bytes(files[3].read_bytes()[: -cut or None])
    found = only_image(tmp_path)[0]
    assert np.array_equal(found, (array * 0.5 - 3)[: 3 if cut else 4])
    assert ("truncated" in messages(discover(tmp_path))) == bool(cut)


def test_frames_of_a_compressed_file_have_their_own_rescale(tmp_path):
    array = pixels((4, 32, 40))
    path = write_enhanced(tmp_path / "e", [(array[k], (0, 0, 5.0 * k), {"slope": k + 1}) for k in (3, 1, 0, 2)])
    compress(path, "JPEG-LS")
    assert np.array_equal(only_image(tmp_path)[0], array * np.reshape([1, 2, 3, 4], (4, 1, 1)) + 1)


def test_jpeg_colours(tmp_path):
    color = np.zeros((4, 32, 40, 3), np.uint8)
    color[..., :20, :] = 200, 50, 0
    color[..., 20:, :] = 0, 50, 120
    for k, plane in enumerate(color):
        path = write_slice(tmp_path / f"IM{k}", pixels()[0], (0, 0, 5 * k), InstanceNumber=k + 1)
        dataset = pydicom.dcmread(path)
        add_pixels(dataset, plane)
        encode_jpeg(dataset, plane)
        dataset.save_as(path)
    difference = np.abs(only_image(tmp_path) - np.moveaxis(color, -1, 0))
    assert float(np.median(difference)) <= 1  # lossy only where the colours meet
    assert difference[..., :16].max() <= 3


def test_a_compression_that_cannot_be_unpacked_is_refused_at_index(tmp_path):
    write_series(tmp_path / "good", pixels(), PatientID="P2")
    for file in write_series(tmp_path / "bad", pixels()):
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"
        dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 300])
        dataset["PixelData"].VR = "OB"
        dataset.save_as(file)
    cohort = discover(tmp_path)
    assert [volume.patient for volume in cohort.volumes] == ["P2"]
    assert "High-Throughput JPEG 2000" in messages(cohort, "error")


def test_colours(tmp_path):
    color = np.random.default_rng(1).integers(0, 255, (4, 6, 5, 3)).astype(np.uint8)
    for k, plane in enumerate(color):
        path = write_slice(tmp_path / f"IM{k}", pixels()[0], (0, 0, 5 * k), InstanceNumber=k + 1)
        dataset = pydicom.dcmread(path)
        add_pixels(dataset, plane)
        dataset.save_as(path)
    assert np.array_equal(only_image(tmp_path), np.moveaxis(color, -1, 0))


def test_a_palette_becomes_colours(tmp_path):
    indices = np.random.default_rng(1).integers(0, 256, (4, 6, 5)).astype(np.uint8)
    table = np.random.default_rng(2).integers(0, 256, (256, 3)).astype(np.uint8)
    tags = {"PhotometricInterpretation": "PALETTE COLOR"}
    for number, name in enumerate(("Red", "Green", "Blue")):
        tags[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 8]
        tags[f"{name}PaletteColorLookupTableData"] = table[:, number].tobytes()
    write_series(tmp_path, indices, **tags)
    assert np.array_equal(only_image(tmp_path), np.moveaxis(table[indices], -1, 0))


# ------------------------------------------------------------------------------------------------ geometry


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, SAGITTAL])
@pytest.mark.parametrize("sign", [1, -1])
def test_slices_lie_where_the_headers_say(tmp_path, orientation, sign):
    array = pixels()
    normal = np.cross(orientation[:3], orientation[3:]) * sign
    write_series(tmp_path, array, step=tuple(4 * normal), ImageOrientationPatient=list(orientation))
    cohort = discover(tmp_path)
    (volume,) = cohort.volumes
    found = read_image(cohort, volume)[0]
    axes = np.reshape(volume.geometry.direction, (3, 3)) * volume.geometry.spacing
    for k in range(4):
        place = axes[:, 2] * k + volume.geometry.origin
        number = round(float(place @ normal) / 4)
        assert np.allclose(place, 4 * normal * number)
        assert np.array_equal(found[k], array[number])
    assert np.linalg.det(np.reshape(volume.geometry.direction, (3, 3))) == pytest.approx(1)


@pytest.mark.parametrize(("degrees", "used"), [(0.05, True), (2, False), (15, False), (-20, False)])
def test_gantry_tilt_is_refused_at_index(tmp_path, degrees, used):
    write_series(tmp_path / "good", pixels(), PatientID="P2")
    write_series(tmp_path / "tilted", pixels(), step=(0, 5 * np.tan(np.deg2rad(degrees)), 5))
    cohort = discover(tmp_path)
    assert len(cohort.volumes) == 1 + used
    assert ("Gantry tilt" in messages(cohort, "error")) != used
    for volume in cohort.volumes:
        assert read_image(cohort, volume).shape == (1, 4, 6, 5)


@pytest.mark.parametrize(
    ("offsets", "text"),
    [
        ((0, 1, 2, 4, 5), "missing"),
        ((0, 1, 3), "2.50 mm"),
        ((0, 1, 2, 3.4, 4.4, 5.4), "uneven"),
        ((0, 1, 2.05, 3, 4), None),
        ((0, 1.0001, 1.9999, 3), None),
    ],
)
def test_gaps_and_uneven_spacing(tmp_path, offsets, text):
    write_series(tmp_path / "good", pixels(), PatientID="P2")
    write_series(tmp_path / "x", pixels((len(offsets), 6, 5)), offsets=offsets)
    cohort = discover(tmp_path)
    assert len(cohort.volumes) == (2 if text is None else 1)
    assert text is None or (text in messages(cohort, "error") and "mm off" in messages(cohort, "error"))
    rounding = offsets == (0, 1.0001, 1.9999, 3)
    assert ("not quite even" in messages(cohort, "warning")) == (text is None and not rounding)


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"ImagePositionPatient": None}, "ImagePositionPatient is missing"),
        ({"ImageOrientationPatient": None}, "ImageOrientationPatient is missing"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "right angles"),
        ({"PixelSpacing": None}, "PixelSpacing is missing"),
        ({"PixelSpacing": None, "ImagerPixelSpacing": [1, 1]}, "PixelSpacing is missing"),
        ({"PixelSpacing": [0, 0]}, "impossible"),
        ({"Rows": 0}, "rows and columns"),
        ({"BitsStored": 12, "HighBit": 15}, "HighBit"),
        ({"NumberOfFrames": 3, "PixelData": bytes(3 * 60)}, "3 frames of the file have no position"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaic"),
    ],
)
def test_what_a_slice_lacks_is_named_and_the_rest_is_used(tmp_path, tags, text):
    write_series(tmp_path / "good", pixels(), PatientID="P2")
    write_series(tmp_path / "bad", pixels(), **tags)
    cohort = discover(tmp_path)
    assert [volume.patient for volume in cohort.volumes] == ["P2"]
    assert text in messages(cohort, "error")


def test_position_that_is_not_a_number(tmp_path):
    write_series(tmp_path / "good", pixels(), PatientID="P2")
    files = write_series(tmp_path / "bad", pixels(), step=(0, 0, 7))
    files[2].write_bytes(files[2].read_bytes().replace(b"0.0\\0.0\\14.0", b"0.0\\x.0\\14.0"))
    cohort = discover(tmp_path)
    assert [volume.patient for volume in cohort.volumes] == ["P2"]
    assert "IM0002: ImagePositionPatient (0020,0032) is not a number: '0.0\\x.0\\14.0'." in messages(cohort, "error")
    for file in files:
        file.write_bytes(file.read_bytes().replace(b"0.0\\", b"NaN\\"))
    cohort = discover(tmp_path)
    assert len(cohort.problems) == 2
    assert "ImagePositionPatient (0020,0032) must be 3 finite number(s)" in messages(cohort, "error")


@pytest.mark.parametrize("cut", [200, 2])
def test_a_truncated_file_is_named(tmp_path, cut):
    files = write_series(tmp_path, pixels((6, 20, 20)))
    files[5].write_bytes(files[5].read_bytes()[:-cut])  # the last slice: the others are a stack without it
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(20, 20, 5)]
    assert "IM0005: The file is truncated" in messages(cohort, "warning")
    files[2].write_bytes(files[2].read_bytes()[:-cut])
    cohort = discover(tmp_path)
    assert cohort.volumes == ()
    assert "truncated" in messages(cohort, "error")
    assert "missing" in messages(cohort, "error")


def test_a_length_beyond_the_end_of_the_file_costs_no_memory(tmp_path):
    write_series(tmp_path / "good", pixels(), PatientID="P2")
    file = write_series(tmp_path / "bad", pixels(), PatientID="LONG NAME")[0]
    content = file.read_bytes()
    place = content.index(b"\x10\x00\x20\x00LO") + 4  # of the value representation of PatientID
    file.write_bytes(content[:place] + b"UT\0\0\xf0\xff\xff\x7f" + content[place + 4 :])
    tracemalloc.start()
    cohort = discover(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "P2" in [volume.patient for volume in cohort.volumes]
    assert "IM0000" in messages(cohort, "error") + messages(cohort, "warning")
    assert peak < 2**28


@pytest.mark.parametrize("seed", range(6))
def test_damaged_headers_never_end_the_index(tmp_path, seed):
    rng = np.random.default_rng(seed)
    write_series(tmp_path / "good", pixels(), PatientID="P2")
    for file in write_series(tmp_path / "bad", pixels((12, 6, 5))):
        content = bytearray(file.read_bytes())
        for place in rng.integers(132, len(content) - 70, 12):
            content[place] = rng.integers(0, 256)
        file.write_bytes(content[: rng.integers(150, len(content))] if seed % 2 else content)
    cohort = discover(tmp_path)
    assert "P2" in [volume.patient for volume in cohort.volumes]


# --------------------------------------------------------------------------------------- one series, many volumes


def test_time_points_are_volumes(tmp_path):
    array = pixels((3, 4, 6, 5))
    for t in range(3):
        for k in range(4):
            tags = {"TriggerTime": 30.5 * t + k, "InstanceNumber": 3 * k + t + 1, "Modality": "MR"}
            write_slice(tmp_path / f"IM{t}{k}", array[t, k], (0, 0, 8 * k), **tags)
    cohort = discover(tmp_path)
    assert [volume.id[-2:] for volume in cohort.volumes] == ["t1", "t2", "t3"]
    assert "time (trigger time)" in messages(cohort, "warning")
    assert "missing" not in messages(cohort)
    for volume, expected in zip(cohort.volumes, array, strict=True):
        assert np.array_equal(read_image(cohort, volume)[0], expected)


@pytest.mark.parametrize("thickness", [8, 99, -8, None])
def test_time_points_whose_positions_are_rounded(tmp_path, thickness):
    for t in range(3):
        for k in range(4):
            tags = {"InstanceNumber": 4 * t + k + 1, "SliceThickness": thickness}
            write_slice(tmp_path / f"IM{t}{k}", pixels(seed=t)[k], (0, 0, 8 * k + 0.01 * t), **tags)
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 4)] * 3


def test_an_incomplete_time_series_is_refused_with_the_reason(tmp_path):
    number = 0
    for t in range(3):
        for k in range(4):
            number += 1
            write_slice(tmp_path / f"IM{t}{k}", pixels(seed=t)[k], (0, 0, 8 * k), InstanceNumber=number)
    (tmp_path / "IM12").unlink()
    cohort = discover(tmp_path)
    assert cohort.volumes == ()
    assert "Several images are at the same position" in messages(cohort, "error")


def test_acquisitions_that_overlap(tmp_path):
    for number, places in ((1, range(5)), (2, range(4, 9))):
        for k in places:
            write_slice(
                tmp_path / f"IM{number}{k}", pixels((9, 6, 5), number)[k], (0, 0, 5 * k), AcquisitionNumber=number
            )
    cohort = discover(tmp_path)
    assert [volume.id.rpartition("_")[2] for volume in cohort.volumes] == ["acq1", "acq2"]
    assert np.array_equal(read_image(cohort, cohort.volumes[1])[0], pixels((9, 6, 5), 2)[4:])


@pytest.mark.parametrize(
    ("tag", "kind", "value"),
    [(0x0019100C, "IS", "{}"), (0x20011003, "FL", "{}"), (0x00431039, "IS", "100000{:04d}\\8")],
)
def test_b_values_where_vendors_keep_them(tmp_path, tag, kind, value):
    for b in (0, 700):
        for k in range(4):
            path = write_slice(tmp_path / f"{b}{k}", pixels()[k] + b, (0, 0, 5 * k))
            dataset = pydicom.dcmread(path)
            dataset.add_new(tag, kind, float(b) if kind == "FL" else value.format(b).split("\\"))
            dataset.save_as(path)
    cohort = discover(tmp_path)
    assert [volume.id.rpartition("_")[2] for volume in cohort.volumes] == ["b0", "b700"]


def test_echoes_and_b_values(tmp_path):
    for echo, b in ((2.3, 0), (4.6, 0), (4.6, 800), (4.6, 1000)):
        for k in range(4):
            tags = {"EchoTime": echo, "DiffusionBValue": float(b), "Modality": "MR", "InstanceNumber": k + 1}
            write_slice(tmp_path / f"IM{echo}_{b}_{k}", pixels()[k] + b, (0, 0, 8 * k), **tags)
    cohort = discover(tmp_path)
    assert [volume.id.split("_", 3)[3] for volume in cohort.volumes] == [
        "TE2.3",
        "TE4.6_b0",
        "TE4.6_b800",
        "TE4.6_b1000",
    ]
    assert np.array_equal(read_image(cohort, cohort.volumes[3])[0], pixels() + 1000)


def test_water_and_fat_of_one_series(tmp_path):
    for n, kind in enumerate("WF"):
        for k in range(4):
            tags = {"ImageType": ["DERIVED", "PRIMARY", "DIXON", kind], "InstanceNumber": 4 * n + k + 1}
            write_slice(tmp_path / f"IM{kind}{k}", pixels(seed=n)[k], (0, 0, 8 * k), **tags)
    cohort = discover(tmp_path)
    assert [volume.id[-2:] for volume in cohort.volumes] == ["_F", "_W"]


@pytest.mark.parametrize("name", ["same files", "same pixels"])
def test_copies_are_used_once(tmp_path, name):
    files = write_series(tmp_path / "a", pixels())
    for file in files:
        copy = tmp_path / "b" / f"{file.name} (1)"
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(file, copy)
        if name == "same pixels":
            dataset = pydicom.dcmread(copy)
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.SOPInstanceUID}.7"
            dataset.save_as(copy)
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 4)]
    assert "4 " in messages(cohort, "warning")
    assert "copies of others" in messages(cohort, "warning")
    assert "missing" not in messages(cohort)


def test_one_uid_for_all_files_is_not_a_copy(tmp_path):
    write_series(tmp_path, pixels(), SOPInstanceUID="1.2.3.4")
    assert np.array_equal(only_image(tmp_path)[0], pixels())


def test_a_series_in_several_folders(tmp_path):
    files = write_series(tmp_path / "all", pixels())
    for k, file in enumerate(files):
        target = tmp_path / f"{k}" / "DICOM" / file.name
        target.parent.mkdir(parents=True)
        shutil.move(file, target)
    assert np.array_equal(only_image(tmp_path)[0], pixels())


def test_localizer_is_left_out_and_reported(tmp_path):
    write_series(tmp_path, pixels())
    files = list(tmp_path.iterdir())
    series = pydicom.dcmread(files[0]).SeriesInstanceUID
    kinds = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    write_slice(
        tmp_path / "scout", pixels((1, 9, 9))[0], orientation=CORONAL, SeriesInstanceUID=series, ImageType=kinds
    )
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 4)]
    assert "1 localizer(s) left out" in messages(cohort, "warning")


def test_an_unnamed_scout_is_split_off(tmp_path):
    write_series(tmp_path, pixels(), SeriesInstanceUID="1.2.7")
    write_slice(tmp_path / "scout", pixels((1, 9, 9))[0], orientation=CORONAL, SeriesInstanceUID="1.2.7")
    write_slice(tmp_path / "wide", pixels((1, 9, 9))[0], (0, 0, 2.5), SeriesInstanceUID="1.2.7")
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 4)]
    assert "2 of 6 images have another size, spacing or orientation" in messages(cohort, "warning")


def test_stacks_of_several_orientations(tmp_path):
    for orientation, name in ((AXIAL, "a"), (SAGITTAL, "s"), (CORONAL, "c")):
        step = tuple(6.0 * np.cross(orientation[:3], orientation[3:]))
        tags = {"SeriesInstanceUID": "1.2.7", "ImageOrientationPatient": list(orientation)}
        write_series(tmp_path / name, pixels(seed=ord(name)), step=step, **tags)
    cohort = discover(tmp_path)
    assert [volume.id.rpartition("_")[2] for volume in cohort.volumes] == ["axial", "coronal", "sagittal"]
    assert np.array_equal(read_image(cohort, cohort.volumes[0])[0], pixels(seed=ord("a")))


def test_three_planes_of_one_image_each_are_not_a_stack(tmp_path):
    for n, orientation in enumerate((AXIAL, SAGITTAL, CORONAL)):
        write_slice(tmp_path / f"{n}", pixels()[n], orientation=orientation, SeriesInstanceUID="1.2.7")
    cohort = discover(tmp_path)
    assert cohort.volumes == ()
    assert "3 different sizes or orientations" in messages(cohort, "error")


# ------------------------------------------------------------------------------------------------ multi-frame


def test_enhanced_frames_in_any_order_with_their_own_rescale(tmp_path):
    array = pixels()
    order = (2, 0, 3, 1)
    write_enhanced(tmp_path / "e", [(array[k], (0, 0, 5.0 * k), {"slope": k + 0.5}) for k in order])
    found = only_image(tmp_path)[0]
    assert np.allclose(found, array * np.reshape([0.5, 1.5, 2.5, 3.5], (4, 1, 1)) + 1)


def test_enhanced_time_points_and_b_values(tmp_path):
    frames = [
        (pixels()[k] + 10 * t + b, (0, 0, 5.0 * k), {"time": t + 1, "b": b})
        for b in (0, 500)
        for k in range(4)
        for t in range(2)
    ]
    write_enhanced(tmp_path / "e", frames)
    cohort = discover(tmp_path)
    assert [volume.id.split("_", 3)[3] for volume in cohort.volumes] == ["b0_t1", "b0_t2", "b500_t1", "b500_t2"]
    assert np.array_equal(read_image(cohort, cohort.volumes[3])[0], pixels() + 510)
    again = Cohort.from_json(cohort.to_json(), cohort.root)
    assert np.array_equal(read_image(again, again.volumes[1])[0], pixels() + 10)
    assert "copy" not in messages(cohort)


def test_enhanced_frames_of_several_orientations_are_not_a_stack(tmp_path):
    path = write_enhanced(tmp_path / "e", [(pixels()[k], (0, 0, 5.0 * k), {}) for k in range(4)])
    dataset = pydicom.dcmread(path)
    del dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    for k, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        group.PlaneOrientationSequence = [pydicom.Dataset()]
        group.PlaneOrientationSequence[0].ImageOrientationPatient = list((AXIAL, CORONAL, SAGITTAL, AXIAL)[k])
    dataset.save_as(path)
    cohort = discover(tmp_path)
    assert cohort.volumes == ()
    assert "3 different sizes or orientations" in messages(cohort, "error")


# ------------------------------------------------------------------------------------------------ segmentations


@pytest.fixture
def drawn() -> np.ndarray:
    mask = np.zeros((4, 6, 5), np.uint8)
    mask[1:3, 1:5, 1:4] = 1
    mask[2, 2:4, 2:4] = 2
    return mask


def test_a_segmentation_is_the_label_of_its_series(tmp_path, drawn):
    for patient, names in (("A", ["liver", "tumor"]), ("B", ["tumor", "liver"])):
        files = write_series(tmp_path / patient / "images", pixels(), PatientID=patient)
        write_segmentation(tmp_path / patient / "seg" / "1", files, drawn, names)
    cohort = discover(tmp_path)
    assert messages(cohort) == ""
    assert cohort.labels == {1: "liver", 2: "tumor"}
    swapped = np.array([0, 2, 1])[drawn]
    for volume, expected in zip(cohort.volumes, (drawn, swapped), strict=True):
        assert np.array_equal(read_labels(cohort, volume, AnnotationKind.MASK), expected)


def test_segmentations_of_one_series(tmp_path, drawn):
    files = write_series(tmp_path / "images", pixels())
    write_segmentation(tmp_path / "1", files, (drawn == 1).astype(np.uint8), ["liver"])
    write_segmentation(tmp_path / "2", files, (drawn == 2).astype(np.uint8), ["tumor"])
    cohort = discover(tmp_path)
    found = read_labels(cohort, cohort.volumes[0], AnnotationKind.MASK)
    values = {name: value for value, name in cohort.labels.items()}
    assert np.array_equal(found == values["liver"], drawn == 1)
    assert np.array_equal(found == values["tumor"], drawn == 2)
    write_segmentation(tmp_path / "3", files, drawn, ["liver", "vessel"])
    cohort = discover(tmp_path)
    assert cohort.volumes[0].mask is None
    assert "3 segmentations of the series have a segment 'liver'" in messages(cohort, "error")


@pytest.mark.parametrize(
    "missing",
    [
        "DimensionIndexSequence",
        "FrameOfReferenceUID",
        "SegmentationType",
        "SegmentAlgorithmType",
        "SegmentedPropertyCategoryCodeSequence",
        "SpacingBetweenSlices",
        "DerivationImageSequence",
    ],
)
def test_segmentations_of_simple_writers(tmp_path, missing):
    drawn = np.zeros((4, 6, 5), np.uint8)
    drawn[0, 1:3, 1:4], drawn[3, 2:4, 2:4] = 1, 2  # nothing on the slices between them
    files = write_series(tmp_path / "images", pixels())
    seg = write_segmentation(tmp_path / "seg", files, drawn, ["liver", "tumor"])
    dataset = pydicom.dcmread(seg)
    dataset.walk(lambda part, element: part.pop(element.tag) if element.keyword == missing else None)
    dataset.save_as(seg)
    assert missing not in {element.keyword for element in pydicom.dcmread(seg).iterall()}
    cohort = discover(tmp_path)
    assert messages(cohort) == ""
    assert np.array_equal(read_labels(cohort, cohort.volumes[0], AnnotationKind.MASK), drawn)


def test_a_copied_segmentation_and_one_that_names_no_series(tmp_path, drawn):
    files = write_series(tmp_path / "images", pixels())
    write_series(tmp_path / "other", pixels(), SeriesInstanceUID="1.2.99", PixelSpacing=[2, 2])
    seg = write_segmentation(tmp_path / "1", files, drawn, ["liver", "tumor"])
    dataset = pydicom.dcmread(seg)
    del dataset.ReferencedSeriesSequence
    dataset.save_as(seg)
    shutil.copy(seg, tmp_path / "2")
    cohort = discover(tmp_path)
    assert messages(cohort) == ""
    (labelled,) = [volume for volume in cohort.volumes if volume.mask is not None]
    assert labelled.geometry.spacing == (1.5, 1.5, 5)
    assert np.array_equal(read_labels(cohort, labelled, AnnotationKind.MASK), drawn)
    write_series(tmp_path / "third", pixels(), SeriesInstanceUID="1.2.100")
    cohort = discover(tmp_path)
    assert all(volume.mask is None for volume in cohort.volumes)
    assert "does not fit exactly one volume" in messages(cohort, "warning")


def test_overlapping_segments_and_lost_series(tmp_path, drawn):
    files = write_series(tmp_path / "images", pixels())
    both = np.stack([drawn > 0, drawn > 0], -1).astype(np.uint8)
    write_segmentation(tmp_path / "1", files, both, ["liver", "tumor"])
    elsewhere = write_series(tmp_path / "gone", pixels(), SeriesInstanceUID="1.2.99", StudyInstanceUID="1.2.98")
    write_segmentation(tmp_path / "2", elsewhere, drawn, ["liver", "tumor"])
    shutil.rmtree(tmp_path / "gone")
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 4)]
    assert cohort.volumes[0].mask is None
    assert "The segments overlap" in messages(cohort, "error")
    assert "a series that is missing" in messages(cohort, "warning")


def test_without_highdicom_the_images_can_be_used(tmp_path, drawn, monkeypatch):
    files = write_series(tmp_path / "images", pixels())
    write_segmentation(tmp_path / "1", files, drawn, ["liver", "tumor"])
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "highdicom" else real(name))
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 4)]
    assert "pip install highdicom" in messages(cohort, "error")


# ------------------------------------------------------------------------------------------------ what is not an image


@pytest.mark.parametrize("modality", ["SR", "PR", "KO", "RTDOSE"])
@pytest.mark.parametrize("by", ["class", "modality"])
def test_objects_that_are_not_images_are_left_out_even_with_pixels(tmp_path, modality, by):
    classes = {"SR": "88.11", "PR": "11.1", "KO": "88.59", "RTDOSE": "481.2"}
    tags = {"SOPClassUID": f"1.2.840.10008.5.1.4.1.1.{classes[modality]}"} if by == "class" else {"Modality": modality}
    write_series(tmp_path / "ct", pixels(), SeriesInstanceUID="1.2.7")
    write_series(tmp_path / "other", pixels(), SeriesInstanceUID="1.2.8", **tags)
    write_slice(tmp_path / "ct" / "other", pixels()[0], (0, 0, 5), SeriesInstanceUID="1.2.7", **tags)
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 4)]
    assert "left out: 5 " in messages(cohort, "warning")
    assert len(cohort.problems) == 1


def test_objects_without_images_are_reported_once(tmp_path):
    write_series(tmp_path, pixels())
    for n in range(3):
        save(tmp_path / f"PR{n}", header(GrayscaleSoftcopyPresentationStateStorage, Modality="PR"))
    save(tmp_path / "report.dcm", header(EncapsulatedPDFStorage, Modality="DOC"))
    save(tmp_path / "phoenix", header("1.3.12.2.1107.5.9.1", Modality="MR"))
    save(tmp_path / "contours", header(RTStructureSetStorage, Modality="RTSTRUCT"))
    screen = header(SecondaryCaptureImageStorage, SeriesInstanceUID="1.2.8")
    add_pixels(screen, np.zeros((8, 8, 3), np.uint8))
    save(tmp_path / "dose report", screen)
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 4)]
    text = messages(cohort, "warning")
    assert "vendor's own class" in text
    assert "1 Encapsulated PDF, 3 Grayscale Softcopy Presentation State" in text
    assert "1 secondary capture(s)" in text
    assert "RTSTRUCT" in text
    assert messages(cohort, "error") == ""


def test_secondary_captures_are_left_out_wherever_they_lie(tmp_path):
    write_series(tmp_path / "ct", pixels(), SeriesInstanceUID="1.2.70")
    tags = {"SOPClassUID": SecondaryCaptureImageStorage}
    write_series(tmp_path / "sc", pixels(), SeriesInstanceUID="1.2.71", **tags)
    write_slice(tmp_path / "ct" / "dose", pixels(seed=9)[0], (0, 0, 5), SeriesInstanceUID="1.2.70", **tags)
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 4)]
    assert "5 secondary capture(s)" in messages(cohort, "warning")
    assert messages(cohort, "error") == ""


def test_radiographs_are_volumes_of_one_slice(tmp_path):
    for n in range(2):
        tags = {"Modality": "CR", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "ImagerPixelSpacing": [0.2, 0.3]}
        none = {"ImagePositionPatient": None, "ImageOrientationPatient": None, "PixelSpacing": None}
        write_slice(tmp_path / f"x{n}", pixels()[n], SeriesInstanceUID=f"1.2.{n}", PatientID=f"P{n}", **tags, **none)
    cohort = discover(tmp_path)
    assert sizes(cohort) == [(5, 6, 1), (5, 6, 1)]
    assert cohort.volumes[0].geometry.spacing == (0.3, 0.2, 1.0)
    assert np.array_equal(read_image(cohort, cohort.volumes[1])[0, 0], pixels()[1])


# ------------------------------------------------------------------------------------------------ names and folders


@pytest.mark.parametrize("other", ["LICENSE", "AUTORUN.INF", "report.pdf", "Viewer.exe", "meta.xml", "Thumbs.db"])
def test_dicom_is_recognised_with_other_files(tmp_path, other):
    write_series(tmp_path / "P1" / "S1", pixels())
    (tmp_path / other).write_bytes(b"no image" * 40)
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(40))
    cohort = discover(tmp_path)
    assert (cohort.layout, sizes(cohort), messages(cohort)) == ("dicom", [(5, 6, 4)], "")


def test_files_that_a_dicomdir_names_and_that_are_not_there(tmp_path):
    files = FileSet()
    dates = {"StudyDate": "20200101", "StudyTime": "120000"}
    for file in write_series(tmp_path / "source", pixels(), step=(0, 0, 3), **dates):
        files.add(file)
    files.write(tmp_path / "medium")
    assert messages(discover(tmp_path / "medium")) == ""
    last = sorted(path for path in (tmp_path / "medium").rglob("IM*") if path.is_file())[-1]
    last.unlink()
    cohort = discover(tmp_path / "medium")
    assert sizes(cohort) == [(5, 6, 3)]
    assert "DICOMDIR names 4 files, and 1 of them are missing" in messages(cohort, "warning")


def test_images_that_lost_their_series_are_reported(tmp_path):
    for k in range(5):
        write_slice(tmp_path / f"IM{k}", pixels((5, 6, 5))[k], (0, 0, 5 * k), SeriesInstanceUID=f"1.2.6.{k}")
    assert "5 images of the folder" in messages(discover(tmp_path), "warning")


def test_a_stray_series_does_not_make_a_cohort_of_other_files_dicom(tmp_path):
    write_series(tmp_path / "raw", pixels())
    for n in range(3):
        sitk.WriteImage(sitk.GetImageFromArray(pixels(seed=n)), str(tmp_path / f"p{n}.nrrd"))
    cohort = discover(tmp_path)
    assert (cohort.layout, len(cohort.volumes)) == ("folder", 3)
    assert "DICOM" in messages(cohort, "warning")
    for n in range(1, 3):
        (tmp_path / f"p{n}.nrrd").unlink()
    cohort = discover(tmp_path)
    assert (cohort.layout, len(cohort.volumes)) == ("dicom", 1)
    assert "nrrd" in messages(cohort, "warning")


def test_linked_folders_and_loops(tmp_path):
    write_series(tmp_path / "elsewhere" / "S", pixels())
    root = tmp_path / "cohort"
    root.mkdir()
    (root / "P1").symlink_to(tmp_path / "elsewhere")
    (root / "again").symlink_to(tmp_path / "elsewhere" / "S")
    (root / "loop").symlink_to(root)
    cohort = discover(root)
    assert (cohort.layout, sizes(cohort)) == ("dicom", [(5, 6, 4)])
    assert np.array_equal(read_image(cohort, cohort.volumes[0])[0], pixels())


def test_files_without_preamble(tmp_path):
    for k, plane in enumerate(pixels()):
        write_slice(tmp_path / f"IM{k}", plane, (0, 0, 5 * k), preamble=False, InstanceNumber=k + 1)
    assert np.array_equal(only_image(tmp_path)[0], pixels())


@pytest.mark.parametrize(
    ("charset", "name", "codec"),
    [
        ("ISO_IR 100", "Müller-7", "latin-1"),
        ("ISO_IR 192", "患者01", "utf-8"),
        ("GB18030", "患者02", "gb18030"),
        (None, "Jürg-7", "latin-1"),
        (None, "患者03", "utf-8"),
        ("\\ISO 2022 IR 87", "山田7", "iso2022_jp"),
        ("ISO_IR 192", "Jürg-8", "latin-1"),
        ("NO SUCH SET", "Jürg-9", "latin-1"),
    ],
)
def test_names_of_patients(tmp_path, charset, name, codec):
    raw = name.encode(codec)
    placeholder = "Q" * (len(raw) + len(raw) % 2)
    for file in write_series(tmp_path, pixels(), PatientID=placeholder, SpecificCharacterSet=charset):
        file.write_bytes(file.read_bytes().replace(placeholder.encode(), raw.ljust(len(placeholder))))
    cohort = discover(tmp_path)
    assert [volume.patient for volume in cohort.volumes] == [name]
    cohort.volumes[0].id.encode("utf-8")
    assert messages(cohort) == ""


def test_patients_without_id_are_distinguished_by_study(tmp_path):
    for n in range(2):
        for series in ("a", "b"):
            tags = {"PatientID": None, "StudyInstanceUID": f"1.2.{n}", "SeriesInstanceUID": f"1.2.{n}.{ord(series)}"}
            write_series(tmp_path / f"case{n}" / series, pixels(), **tags)
    cohort = discover(tmp_path)
    assert sorted(volume.patient for volume in cohort.volumes) == ["case0", "case0", "case1", "case1"]


def test_one_patient_id_for_several_people_is_reported_without_their_names(tmp_path):
    for n, name in enumerate(("Secret^One", "Hidden^Two")):
        write_series(tmp_path / str(n), pixels(seed=n), PatientID="ANON", PatientName=name)
        write_series(tmp_path / f"{n} again", pixels(seed=n), PatientID=f"P{n}", PatientName=name)
        write_series(tmp_path / f"{n} other", pixels(seed=n), PatientID=f"P{n}", PatientName=f"{name.upper()}^^")
    text = messages(discover(tmp_path), "warning")
    assert text.count("different names or dates of birth") == 1
    assert "2 different names or dates of birth" in text
    assert "secret" not in text.lower()


def test_a_table_names_folders_and_files(tmp_path):
    write_series(tmp_path / "a" / "T1", pixels(), RescaleSlope=0.5, RescaleIntercept=0)
    write_series(tmp_path / "a" / "T2", pixels(seed=2))
    write_enhanced(tmp_path / "b.dcm", [(pixels()[k], (0, 0, 5.0 * k), {"slope": k}) for k in (1, 2, 3)])
    rows = ["patient,volume,image,role", "A,one,a/T1;a/T2,test", "B,two,b.dcm,", "C,three,a,"]
    (tmp_path / "table.csv").write_text("\n".join(rows))
    cohort = discover(tmp_path / "table.csv")
    assert [(volume.id, volume.role) for volume in cohort.volumes] == [("one", "test"), ("two", "pool")]
    assert np.array_equal(read_image(cohort, cohort.volumes[0]), np.stack([pixels() * 0.5, pixels(seed=2)]))
    assert np.array_equal(read_image(cohort, cohort.volumes[1])[0], pixels()[1:] * np.reshape([1, 2, 3], (3, 1, 1)) + 1)
    assert "a holds 2 volumes" in messages(cohort, "error")


def test_a_file_replaced_after_the_index_is_refused_by_name(tmp_path):
    files = write_series(tmp_path, pixels())
    cohort = discover(tmp_path)
    write_slice(files[1], pixels()[1], (0, 0, 9.9))
    with pytest.raises(BadInput, match=r"IM0001.*where it was indexed"):
        read_image(cohort, cohort.volumes[0])


def test_headers_are_read_once_a_file(tmp_path, monkeypatch):
    write_series(tmp_path, pixels((20, 6, 5)))
    calls = []
    real = planes_module.planes_of
    monkeypatch.setattr(
        "ActiveSegmentationLib.cohort.dicom.instances.planes_of",
        lambda path, *rest, **more: calls.append(path) or real(path, *rest, **more),
    )
    monkeypatch.setattr("ActiveSegmentationLib.cohort.assembly.read_header", None)
    assert len(discover(tmp_path).volumes) == 1
    assert len(calls) == 20
