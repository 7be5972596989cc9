"""Finds the nodes of the scene that are ours, and removes them completely."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import slicer

from ActiveSegmentationLib.scene.subjects import patientItem, tidyPatient

OWNER = "ActiveSegmentation.Study"
VOLUME = "ActiveSegmentation.Volume"
NODE = "ActiveSegmentation.Node"
"""Attributes of our nodes: id of the study, of the volume, and of the node itself, which differs in a copy."""


def ownNodes(studyId: str, volumeId: str | None = None) -> list[Any]:
    """Nodes of the scene that belong to a volume of a study, or to any of its volumes.

    A copy of such a node, made in the scene or by loading a saved one, belongs to the user.
    """
    found = []
    for node in slicer.util.getNodesByClass("vtkMRMLDisplayableNode"):
        if node.GetAttribute(OWNER) == studyId and volumeId in (None, node.GetAttribute(VOLUME)):
            if node.GetAttribute(NODE) == node.GetID():
                found.append(node)
            else:
                disown(node)
    return found


def removeNodes(nodes: Iterable[Any]) -> None:
    """Remove nodes from the scene, with the display and storage nodes that no other node uses.

    Otherwise these would stay, and the display node of a volume keeps its pixels in memory.
    """
    scene = slicer.mrmlScene
    for node in list(nodes):
        parts = _partsOf(node)
        others = [other for other in slicer.util.getNodesByClass("vtkMRMLDisplayableNode") if other is not node]
        used = {part.GetID() for other in others for part in _partsOf(other)} if parts else set()
        folder = patientItem(node)
        for part in (node, *(part for part in parts if part.GetID() not in used)):
            if scene.IsNodePresent(part):
                scene.RemoveNode(part)
        tidyPatient(node, folder)


def _partsOf(node: Any) -> list[Any]:
    """Display and storage nodes of a node."""
    parts: list[Any] = []
    if node.IsA("vtkMRMLDisplayableNode"):
        parts += [node.GetNthDisplayNode(number) for number in range(node.GetNumberOfDisplayNodes())]
    if node.IsA("vtkMRMLStorableNode"):
        parts += [node.GetNthStorageNode(number) for number in range(node.GetNumberOfStorageNodes())]
    return [part for part in parts if part is not None]


def markOwned(node: Any, studyId: str, volumeId: str) -> None:
    """Mark a node as belonging to a volume of a study."""
    node.SetAttribute(OWNER, studyId)
    node.SetAttribute(VOLUME, volumeId)
    node.SetAttribute(NODE, node.GetID())


def disown(node: Any) -> None:
    """Stop managing a node; it belongs to the user from now on."""
    for name in (OWNER, VOLUME, NODE):
        node.RemoveAttribute(name)
