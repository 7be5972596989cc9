"""Our nodes under their patient in Slicer's subject hierarchy, where people look for what belongs together."""

from __future__ import annotations

from typing import Any

import slicer

PATIENT = "ActiveSegmentation.Patient"
"""Attribute of the items of our patients: id of the study and name of the patient."""


def placeUnderPatient(node: Any, studyId: str, patient: str) -> None:
    """Put a node under the item of its patient, which is made when first needed.

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
    """Item of ours that a node is under, 0 where it is under none."""
    hierarchy = _hierarchy()
    if hierarchy is None or hierarchy.GetItemByDataNode(node) == hierarchy.GetInvalidItemID():
        return 0
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node))
    return folder if hierarchy.GetItemAttribute(folder, PATIENT) else 0


def tidyPatient(node: Any, folder: int) -> None:
    """Take what is left of a node that has left the scene out of the hierarchy, and its patient where that is empty.

    A patient that a person put something else under stays.

    Args:
        node: The node, which is in the scene no more.
        folder: What ``patientItem`` said of it before.
    """
    hierarchy = _hierarchy()
    if hierarchy is None or not folder:
        return
    item = hierarchy.GetItemByDataNode(node)
    if item != hierarchy.GetInvalidItemID():
        hierarchy.RemoveItem(item, False, True)
    if hierarchy.GetItemAttribute(folder, PATIENT) and hierarchy.GetNumberOfItemChildren(folder) == 0:
        hierarchy.RemoveItem(folder, False, False)


def patientOf(node: Any) -> str:
    """Name of the patient whose item a node is under, "" where it is under none of ours."""
    folder = patientItem(node)
    return _hierarchy().GetItemName(folder) if folder else ""


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
