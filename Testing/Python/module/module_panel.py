"""Slicer's module panel around the module: the same scroll area and layout as qSlicerModulePanel of Slicer's source."""

from __future__ import annotations

from host import qtshim

qt = qtshim.build()


class SlicerModulePanel:
    """A window of the size that Slicer's window leaves for a module.

    Args:
        host: The test host.
        module: The module to show, see ``OpenModule``.
        size: Width and height in pixels.
    """

    def __init__(self, host, module, size):
        self.host = host
        self.area = qt.QScrollArea()
        self.area.setFrameShape(qt.QFrame.NoFrame)
        self.area.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        self.area.setWidgetResizable(True)
        self.contents = qt.QWidget()
        layout = qt.QVBoxLayout(self.contents)
        layout.setSizeConstraint(qt.QLayout.SetMinAndMaxSize)
        layout.setContentsMargins(0, 0, 0, 0)
        help_ = qt.QPushButton("Help && Acknowledgement")
        layout.addWidget(help_)
        layout.addItem(qt.QSpacerItem(0, 0, qt.QSizePolicy.Minimum, qt.QSizePolicy.MinimumExpanding))
        widget = module.widget.parent
        widget.layout().setContentsMargins(0, 0, 0, 0)
        layout.insertWidget(1, widget, 1)
        widget.setSizePolicy(qt.QSizePolicy.Minimum, widget.sizePolicy.verticalPolicy())
        self.area.setWidget(self.contents)
        self.area.resize(*size)
        self.area.show()
        widget.setVisible(True)
        self.widget = widget
        host.settle(0.05)

    def picture(self, path):
        """Save a screenshot."""
        self.host.settle(0.05)
        assert self.area.grab().save(str(path))

    def inView(self, widget):
        """Whether a widget is wholly visible without scrolling."""
        self.host.settle()
        corner = widget.mapTo(self.area, qt.QPoint(0, 0))
        whole = qt.QRect(corner, widget.size)
        return (
            widget.isVisible()
            and widget.visibleRegion().boundingRect() == widget.rect
            and self.area.rect.contains(whole)
        )

    def close(self):
        """Remove the module."""
        self.widget.setParent(None)
        self.area.deleteLater()
        self.host.settle()
