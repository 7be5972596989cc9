"""Which of Slicer's slice views the user annotates in, as the layout changes."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

NAMES = ("Red", "Green", "Yellow")


class Layout:
    """The part of Slicer's layout manager that the views need; it also lists hidden views."""

    def __init__(self, shown):
        self.shown = shown

    def sliceViewNames(self):
        return NAMES

    def sliceWidget(self, name):
        node = SimpleNamespace(name=name, IsMappedInLayout=lambda: name in self.shown)
        renderers = SimpleNamespace(GetFirstRenderer=lambda: None)
        window = SimpleNamespace(GetRenderers=lambda: renderers)
        view = SimpleNamespace(renderWindow=lambda: window, scheduleRender=lambda: None)
        return SimpleNamespace(mrmlSliceNode=lambda: node, sliceLogic=lambda: None, sliceView=lambda: view)


def viewsOf(monkeypatch, layout):
    """Views of a Slicer with this layout."""
    from ActiveSegmentationLib.panels import slicerViews

    monkeypatch.setattr(slicerViews, "slicer", SimpleNamespace(app=SimpleNamespace(layoutManager=lambda: layout)))
    return slicerViews.SlicerViews()


@pytest.mark.parametrize(
    ("shown", "chosen"),
    [(NAMES, "Red"), (("Green", "Yellow"), "Green"), (("Yellow",), "Yellow"), (("Yellow", "Red"), "Red"), ((), None)],
)
def test_a_view_that_the_layout_shows_is_taken(host, monkeypatch, shown, chosen):
    views = viewsOf(monkeypatch, Layout(shown))
    assert not views.headless
    view = views.annotationView()
    assert (None if view is None else view.sliceNode.name) == chosen
    assert [other.sliceNode.name for other in views.others()] == [name for name in NAMES if name != chosen]


def test_without_a_main_window_there_is_no_view(host, monkeypatch):
    views = viewsOf(monkeypatch, None)
    assert views.headless
    assert views.annotationView() is None
    assert views.others() == []
