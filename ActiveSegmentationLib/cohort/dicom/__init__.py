"""DICOM: headers of files, slices in order, pixels, and segmentations. Read with pydicom, SimpleITK and highdicom."""
