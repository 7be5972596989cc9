"""Places our nodes under their patient in Slicer's subject hierarchy."""

from __future__ import annotations

from typing import Any

import slicer

PATIENT = "ActiveSegmentation.Patient"
"""Attribute of the items of our patients: id of the study and name of the patient."""


def placeUnderPatient(node: Any, studyId: str, patient: str) -> None:
    """Put a node under the item of its patient, which is created on first use.

    Args:
        node: A node of the scene.
        studyId: Id of the study.
        patient: Id of the patient.
    """
    hierarchy = _hierarchy()
    if hierarchy is None:  # the scene is being closed
        return
    folder = _patientItem(hierarchy, f"{studyId}/{patient}", patient)
    item = hierarchy.GetItemByDataNode(node)
    if item != hierarchy.GetInvalidItemID():
        hierarchy.SetItemParent(item, folder)
    else:
        hierarchy.CreateItem(folder, node)


def patientItem(node: Any) -> int:
    """Our patient item above a node, 0 if there is none."""
    hierarchy = _hierarchy()
    if hierarchy is None or hierarchy.GetItemByDataNode(node) == hierarchy.GetInvalidItemID():
        return 0
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
    return folder if hierarchy.GetItemAttribute(folder, PATIENT) else 0


def tidyPatient(node: Any, folder: int) -> None:
    """Remove the item of a node that has left the scene, and its patient item if that is empty.

    A patient item under which the user put something else stays.

    Args:
        node: The node, which is no longer in the scene.
        folder: The result of ``patientItem`` from before.
    """
    hierarchy = _hierarchy()
    if hierarchy is None or not folder:
        return
    item = hierarchy.GetItemByDataNode(node)
    if item != hierarchy.GetInvalidItemID():
        hierarchy.RemoveItem(item, False, True)
    if hierarchy.GetItemAttribute(folder, PATIENT) and hierarchy.GetNumberOfItemChildren(folder) == 0:
        hierarchy.RemoveItem(folder, False, False)


def _hierarchy() -> Any:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)


def _patientItem(hierarchy: Any, key: str, name: str) -> int:
    top = hierarchy.GetSceneItemID()
    children: list[int] = []
    hierarchy.GetItemChildren(top, children)
    for item in children:
        if hierarchy.GetItemAttribute(item, PATIENT) == key:
            return item
    item = hierarchy.CreateSubjectItem(top, name)
    hierarchy.SetItemAttribute(item, PATIENT, key)
    return item
