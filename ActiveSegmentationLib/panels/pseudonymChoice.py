"""Whether a new study names patients and volumes by pseudonyms, and where the key file is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from ActiveSegmentationLib.cohort import Cohort, pseudonymised
from ActiveSegmentationLib.common.errors import BadInput


class PseudonymChoice:
    """The check box, the path of the key file and their explanation.

    Args:
        ui: Widgets of the module.
        changed: Called after every change by the user.
    """

    def __init__(self, ui: Any, changed: Callable[[], None]) -> None:
        self._ui = ui
        ui.pseudonymsCheckBox.toggled.connect(lambda *args: changed())
        ui.keyPathLineEdit.currentPathChanged.connect(lambda *args: changed())

    @property
    def missing(self) -> str:
        """What the user still has to choose, "" if nothing."""
        ui = self._ui
        lacks = ui.pseudonymsCheckBox.checked and not ui.keyPathLineEdit.currentPath
        return _("Choose where the key file of the pseudonyms is kept.") if lacks else ""

    def apply(self, cohort: Cohort, folder: Path) -> Cohort:
        """The cohort under the names that the study in this folder uses.

        Raises:
            BadInput: If no key file is chosen, or it is in the study or the cohort, damaged, or cannot be written.
        """
        ui = self._ui
        if self.missing:
            raise BadInput(_("There is no key file for the pseudonyms."), where=_("Key file"), advice=self.missing)
        if not ui.pseudonymsCheckBox.checked:
            return cohort
        return pseudonymised(cohort, Path(ui.keyPathLineEdit.currentPath), folder)

    def clear(self) -> None:
        """Choose no pseudonyms, after a study was created."""
        self._ui.pseudonymsCheckBox.checked = False
        self._ui.keyPathLineEdit.currentPath = ""

    def update(self) -> None:
        """Show the key file only with pseudonyms."""
        shown = self._ui.pseudonymsCheckBox.checked
        for widget in (self._ui.keyPathLabel, self._ui.keyPathLineEdit, self._ui.pseudonymsLabel):
            widget.setVisible(shown)
