"""Strategies: which can be chosen, and with which options."""

from __future__ import annotations

import pytest

from .flow_events import otherStudy
from .flow_steps import suggested


def known(name, reason="", **options):
    options = {option: {"default": 1.0, "meaning": "what it does"} for option in options}
    return {"name": name, "summary": f"This is {name}.", "options": options, "hindrance": reason}


@pytest.fixture
def choosing(flow):
    """A study and what the worker says of three strategies."""
    suggested(flow)
    flow.hold()
    strategies = [known("recommended"), known("power", beta=1), known("vote", "Needs two or more models.")]
    flow.answers["strategies"] = {"strategies": strategies}
    flow.answer()
    return flow


def canBeChosen(box, row):
    return bool(int(box.model().flags(box.model().index(row, 0)).value) & 32)


def test_a_strategy_that_cannot_be_used_cannot_be_chosen_or_asked(choosing):
    import qt

    ui = choosing.module.ui
    box = ui.strategyComboBox
    assert [canBeChosen(box, row) for row in range(3)] == [True, True, False]
    assert box.itemData(2, qt.Qt.ToolTipRole) == "Needs two or more models."
    assert ui.suggestButton.enabled
    choosing.module.widget.logic.getParameterNode().strategy = "vote:hard"  # as a scene may bring it
    choosing.module.wiring.update()
    assert box.currentIndex == 2
    assert "Cannot be used now: Needs two or more models. This is vote." in ui.strategyLabel.text
    assert not ui.suggestButton.enabled
    assert ui.suggestButton.toolTip == "Needs two or more models."
    jobs = len(choosing.held.jobs)
    choosing.module.wiring.suggest.act(choosing.module.wiring.suggest.suggest)()
    assert "Needs two or more models" in choosing.module.message
    assert len(choosing.held.jobs) == jobs


def test_what_hinders_one_study_hinders_no_other(choosing):
    otherStudy(choosing)
    choosing.settle()
    assert canBeChosen(choosing.module.ui.strategyComboBox, 2)
    choosing.answers["strategies"] = {"strategies": [known("recommended"), known("vote")]}
    choosing.module.work.readStrategies()
    choosing.answer()
    assert choosing.module.ui.strategyComboBox.count == 2


def test_strategies_are_judged_anew_when_the_first_mark_comes_or_the_last_goes(choosing):
    def asked():
        return [job.name for job in choosing.held.jobs].count("strategies")

    choosing.session.openRequest(1)
    choosing.module.settle()
    vote, before = choosing.answers["strategies"]["strategies"][2], asked()
    for name, reason, more in (
        ("firstSliceButton", "", 1),
        ("lastSliceButton", "", 1),  # the study has a mark already
        ("clearExtentButton", "Needs marks.", 2),
    ):
        vote["hindrance"] = reason
        choosing.module.click(name)
        assert asked() == before + more, name
        choosing.answer()
        assert canBeChosen(choosing.module.ui.strategyComboBox, 2) == (not reason), name


def test_marking_an_extent_starts_no_worker(flow):
    suggested(flow)
    flow.session.openRequest(1)
    flow.module.settle()
    flow.module.click("firstSliceButton")
    assert flow.module.work.client.state == "stopped"
    assert not flow.module.work.running


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", "power"),
        ("entropy", "power:entropy"),
        (" entropy/beta=5 ", "power:entropy/beta=5"),
        ("beta=5", "power/beta=5"),
        ("/beta=5", "power/beta=5"),
        ("nt-xent=1+volume=0.5", "power:nt-xent=1+volume=0.5"),
    ],
)
def test_argument_and_options_of_a_strategy_can_be_written(choosing, text, asked):
    ui = choosing.module.ui
    ui.strategyComboBox.setCurrentIndex(1)
    assert ui.strategyLabel.text == "This is power. Options: beta."
    assert "beta=1.0: what it does" in ui.strategyOptionsLineEdit.toolTip
    ui.strategyOptionsLineEdit.text = text
    choosing.settle()
    assert ui.strategyOptionsLineEdit.text == text
    choosing.module.click("suggestButton")
    assert choosing.held.jobs[-1].options["strategy"] == asked
    choosing.answer()
    ui.strategyComboBox.setCurrentIndex(0)
    assert ui.strategyOptionsLineEdit.text == ""


def test_options_come_with_the_scene(choosing):
    ui = choosing.module.ui
    for strategy, row, text in (("power:entropy/beta=5", 1, "entropy/beta=5"), ("power/beta=5", 1, "/beta=5")):
        choosing.module.widget.logic.getParameterNode().strategy = strategy
        choosing.module.wiring.update()
        assert (ui.strategyComboBox.currentIndex, ui.strategyOptionsLineEdit.text) == (row, text)
        assert choosing.module.widget.logic.getParameterNode().strategy == strategy
