"""Volumes of a cohort as nodes: geometry, pixels, colour, and the refusal of nodes that were changed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import slicer
import vtk
from hypothesis import given, settings
from hypothesis import strategies as st
from scene_helpers import grid, randomGrid, sitkImage

from ActiveSegmentationLib.cohort import discover
from ActiveSegmentationLib.common.errors import BadInput
from ActiveSegmentationLib.scene import addVolumeNode, ijkToRas, loadVolumeNode, nodeGeometry, requireGrid


def pixels(geometry, dtype=np.int16):
    return np.random.default_rng(0).integers(0, 250, size=geometry.array_shape).astype(dtype)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_matrix_agrees_with_simpleitk(seed):
    geometry = randomGrid(seed)
    image = sitkImage(np.zeros(geometry.array_shape, np.uint8), geometry)
    matrix = ijkToRas(geometry)
    for index in ((0, 0, 0), tuple(size - 1 for size in geometry.size), (1, 2, 3)):
        left, posterior, superior = image.TransformIndexToPhysicalPoint(index)
        assert np.allclose(matrix.MultiplyPoint((*index, 1))[:3], (-left, -posterior, superior), atol=1e-9)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_file_written_by_simpleitk_is_read_by_slicer_as_the_same_node(application, tmp_path, suffix):
    geometry = randomGrid(7, flip=False)
    path = tmp_path / f"image{suffix}"
    sitk.WriteImage(sitkImage(pixels(geometry), geometry), str(path))
    theirs = application.modules.volumes.logic().AddArchetypeVolume(str(path), "theirs", 0)
    ours = addVolumeNode(pixels(geometry), geometry, "ours")
    assert np.array_equal(slicer.util.arrayFromVolume(theirs), slicer.util.arrayFromVolume(ours))
    requireGrid(ours, geometry)
    requireGrid(theirs, geometry)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz"])
def test_slicer_reverses_left_handed_files_and_the_node_is_refused(application, tmp_path, suffix):
    geometry = randomGrid(7, flip=True)
    path = tmp_path / f"image{suffix}"
    sitk.WriteImage(sitkImage(pixels(geometry), geometry), str(path))
    theirs = application.modules.volumes.logic().AddArchetypeVolume(str(path), "theirs", 0)
    assert np.array_equal(slicer.util.arrayFromVolume(theirs)[::-1], pixels(geometry))
    with pytest.raises(BadInput, match="may reverse slices"):
        requireGrid(theirs, geometry)
    requireGrid(addVolumeNode(pixels(geometry), geometry, "ours"), geometry)


def test_node_written_by_slicer_is_read_by_simpleitk(application, tmp_path):
    geometry = randomGrid(11, flip=True)
    node = addVolumeNode(pixels(geometry), geometry, "ours")
    storage = application.scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(tmp_path / "image.nrrd"))
    assert storage.WriteData(node)
    image = sitk.ReadImage(str(tmp_path / "image.nrrd"))
    assert np.array_equal(sitk.GetArrayFromImage(image), pixels(geometry))
    assert np.allclose(image.GetDirection(), geometry.direction, atol=1e-6)
    assert np.allclose(image.GetOrigin(), geometry.origin, atol=1e-5)


def test_scalar_volume_has_pixels_display_and_no_label_map(application):
    geometry = grid()
    node = addVolumeNode(pixels(geometry), geometry, "case")
    assert node.GetClassName() == "vtkMRMLScalarVolumeNode"
    assert node.GetScene() is application.scene
    assert node.GetName() == "case"
    assert node.GetDisplayNode().GetAutoWindowLevel()
    assert node.GetDisplayNode().GetColorNode() is not None
    assert np.array_equal(slicer.util.arrayFromVolume(node), pixels(geometry))


def test_node_keeps_its_own_copy(application):
    geometry = grid()
    array = pixels(geometry)
    node = addVolumeNode(array, geometry, "case")
    array[:] = 0
    assert slicer.util.arrayFromVolume(node).any()


def test_array_that_is_not_contiguous(application):
    geometry = grid()
    array = np.asfortranarray(pixels(geometry))
    assert np.array_equal(slicer.util.arrayFromVolume(addVolumeNode(array, geometry, "case")), array)


def test_colour_volume_is_a_vector_node(application):
    geometry = grid()
    array = np.stack([pixels(geometry, np.uint8)] * 3, axis=-1)
    node = addVolumeNode(array, geometry, "colour")
    assert node.GetClassName() == "vtkMRMLVectorVolumeNode"
    assert node.GetImageData().GetNumberOfScalarComponents() == 3
    assert np.array_equal(slicer.util.arrayFromVolume(node), array)
    assert geometry.difference(nodeGeometry(node)) is None


def test_pixels_of_another_size_are_refused(application):
    with pytest.raises(BadInput, match="shape 5 x 7 x 8, the volume 5 x 7 x 9"):
        addVolumeNode(np.zeros((5, 7, 8)), grid(), "case")


def test_changed_nodes_are_refused(application):
    geometry = grid()
    node = addVolumeNode(pixels(geometry), geometry, "case")
    requireGrid(node, geometry)
    shifted = vtk.vtkMatrix4x4()
    shifted.DeepCopy(ijkToRas(geometry))
    shifted.SetElement(2, 3, 99.0)
    node.SetIJKToRASMatrix(shifted)
    with pytest.raises(BadInput, match=r"origin .* load the case again"):
        requireGrid(node, geometry)
    with pytest.raises(BadInput, match="size"):
        requireGrid(addVolumeNode(pixels(grid((8, 7, 5))), grid((8, 7, 5)), "cropped"), geometry)
    flipped = dataclasses.replace(geometry, direction=(-1.0, *geometry.direction[1:]))
    with pytest.raises(BadInput, match="orientation"):
        requireGrid(addVolumeNode(pixels(geometry), flipped, "flipped"), geometry)


def test_node_under_a_transform_is_refused(application):
    geometry = grid()
    node = addVolumeNode(pixels(geometry), geometry, "case")
    transform = application.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "registration")
    node.SetAndObserveTransformNodeID(transform.GetID())
    with pytest.raises(BadInput, match="moved by the transform 'registration'"):
        requireGrid(node, geometry)


def test_node_without_image_is_refused(application):
    node = application.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
    with pytest.raises(BadInput, match="no image"):
        requireGrid(node, grid())


def test_case_of_a_cohort(application, phantom_cohort):
    cohort = discover(phantom_cohort)
    volume = cohort.volumes[0]
    node = loadVolumeNode(cohort, volume)
    requireGrid(node, volume.geometry)
    path = cohort.path(volume.channels[0].paths[0])
    assert np.array_equal(slicer.util.arrayFromVolume(node), sitk.GetArrayFromImage(sitk.ReadImage(str(path))))
    with pytest.raises(BadInput, match="channel with number 1"):
        loadVolumeNode(cohort, volume, channel=1)


def test_slices_of_dicom_files_lie_in_the_scene_where_their_headers_say(application, tmp_path):
    for k, slope in enumerate((0.25, 3.0, 1e-3)):
        position = [10.0, 20.0 + 4 * (2 - k), 30.0]  # stored against the order of the places
        writeDicomSlice(tmp_path / str(k), position, slope)
    cohort = discover(tmp_path)
    volume = cohort.volumes[0]
    node = loadVolumeNode(cohort, volume)
    requireGrid(node, volume.geometry)
    array = slicer.util.arrayFromVolume(node)
    assert array.dtype == np.float32
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    for k in range(3):
        dataset = pydicom.dcmread(cohort.path(volume.channels[0].paths[k]))
        values = dataset.pixel_array * float(dataset.RescaleSlope)
        assert np.allclose(array[k], values, rtol=1e-6)
        x, y, z = dataset.ImagePositionPatient
        assert np.allclose(matrix.MultiplyPoint((0, 0, k, 1))[:3], (-x, -y, z))


def writeDicomSlice(path, position, slope):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = pydicom.uid.MRImageStorage, f"1.2.3.4{path.name}"
    dataset.PatientID, dataset.SeriesInstanceUID, dataset.Modality = "P", "1.2.3", "MR"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = position, [1, 0, 0, 0, 0, -1]
    dataset.PixelSpacing, dataset.RescaleSlope, dataset.RescaleIntercept = [2, 1.5], slope, 0
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 3, 4, 1
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = (np.arange(12, dtype=np.uint16) * 7 + int(path.name)).tobytes()
    dataset.save_as(path, enforce_file_format=True)


def writeCohort(folder, array, geometry, vector=False):
    for name in ("a", "b"):
        patient = folder / name
        patient.mkdir(parents=True)
        sitk.WriteImage(sitkImage(array, geometry, vector), str(patient / "image.nrrd"))
    return discover(folder)


def test_nan_is_passed_on(application, tmp_path):
    geometry = grid()
    array = pixels(geometry, np.float32)
    cohort = writeCohort(tmp_path, array, geometry)
    array[0, 0, 0] = np.nan
    path = cohort.path(cohort.volumes[0].channels[0].paths[0])
    sitk.WriteImage(sitkImage(array, geometry), str(path))
    before = application.scene.GetNumberOfNodes()
    with pytest.raises(BadInput, match="not finite"):
        loadVolumeNode(cohort, cohort.volumes[0])
    assert application.scene.GetNumberOfNodes() == before


def test_colour_case_of_a_cohort(application, tmp_path):
    geometry = grid()
    array = np.stack([pixels(geometry, np.uint8), pixels(geometry, np.uint8) // 2, pixels(geometry, np.uint8) // 3], -1)
    cohort = writeCohort(tmp_path, array, geometry, vector=True)
    assert cohort.volumes[0].components == 3
    node = loadVolumeNode(cohort, cohort.volumes[0])
    shown = slicer.util.arrayFromVolume(node)
    assert shown.dtype == np.uint8
    assert np.array_equal(shown, array)
