import base64
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from ActiveSegmentationLib.evaluation import (
    Picture,
    Report,
    RequestRow,
    ResultRow,
    SliceView,
    Table,
    read_requests_csv,
    read_results_csv,
    slice_picture,
    write_report,
    write_requests_csv,
    write_results_csv,
)

VOID = {"meta", "img", "source", "br", "link", "hr", "input"}
HOSTILE = "<script>alert('x')</script>\"&"


class Page(HTMLParser):
    """Checks that tags close in order; collects tags with their attributes, and the text."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.text = [], [], ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def of(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def results(strategies=("random", "coreset"), name="c"):
    rng = np.random.default_rng(0)
    return [
        ResultRow(
            name,
            s,
            seed,
            n,
            b,
            b / 10,
            f"p{v}",
            f"v{v}",
            "LV",
            "dice",
            float(0.6 + 0.1 * n + 0.1 * p + rng.normal(0, 0.01)),
        )
        for p, s in enumerate(strategies)
        for seed in (0, 1)
        for n, b in enumerate((10, 20), start=1)
        for v in range(4)
    ]


def requests(strategies=("random", "coreset"), reason="far from all others"):
    return [
        RequestRow("c", s, seed, n, k, f"p{k}", f"v{k}", 2, k, 0.5, reason)
        for s in strategies
        for seed in (0, 1)
        for n in (1, 2)
        for k in (1, 2, 3)
    ]


@pytest.fixture
def png():
    return slice_picture(SliceView(np.random.default_rng(0).random((8, 8))), pixels=32)


def full_report(path, png):
    report = Report(
        title="Benchmark",
        results=results(),
        requests=requests(),
        request_pictures={("coreset", 0, 1, 1): png},
        predictions=[Picture(png, "a prediction", "the best volume")],
        settings={"device": "CPU", "training": {"steps": 5, "rate": [0.1, 0.2]}},
        commands=["activesegmentation benchmark --out here"],
        notes=["The split is by patient."],
        tables=[Table(("run", "seconds"), (("random", "3.1"),), (False, True), "Timings.")],
    )
    write_report(path, report)
    return path.read_text(encoding="utf-8")


def test_the_report_is_well_formed_and_says_all(tmp_path, png):
    html = full_report(tmp_path / "report.html", png)
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert page.of("html") == [{"lang": "en"}]
    expected = [
        "coreset has the highest score",
        "It is better than random",
        "far from all others",
        "v1, slice 2",
        "the best volume",
        "activesegmentation benchmark --out here",
        '"steps": 5',
        "The split is by patient.",
        "an empty prediction is never perfect",
        "Timings.",
        "Of seed 0; those of the other seed are in requests.csv.",
    ]
    for words in expected:
        assert words in page.text, words
    assert page.text.index("coreset has the highest score") < page.text.index("Learning curve")
    links = [a["href"].removeprefix("#") for a in page.of("a")]
    assert set(links) <= {attributes.get("id") for _, attributes in page.tags}
    assert len(links) == 6


def test_the_report_needs_nothing_from_outside(tmp_path, png):
    page = Page(full_report(tmp_path / "report.html", png))
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    for _, attributes in page.tags:
        for name in ("src", "srcset", "href"):
            if name in attributes:
                assert attributes[name].startswith(("data:image/png;base64,", "#"))
    css = "".join(re.findall("<style>(.*?)</style>", (tmp_path / "report.html").read_text(), re.DOTALL))
    assert "url(" not in css
    assert "@import" not in css
    rest = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", (tmp_path / "report.html").read_text())
    assert not re.search(r"(https?:)?//\w", rest)


def test_every_picture_is_whole_and_described(tmp_path, png):
    page = Page(full_report(tmp_path / "report.html", png))
    images = page.of("img")
    assert len(images) == 3
    assert all(len(image["alt"]) > 5 for image in images)
    for source in [image["src"] for image in images] + [page.of("source")[0]["srcset"]]:
        assert base64.b64decode(source.split(",", 1)[1], validate=True).endswith(b"IEND\xaeB`\x82")


def test_hostile_names_stay_text(tmp_path, png):
    strategies = (HOSTILE, "b")
    report = Report(
        title=HOSTILE,
        results=results(strategies, name=HOSTILE),
        requests=requests(strategies, reason=HOSTILE),
        request_pictures={(HOSTILE, 0, 1, 1): png},
        predictions=[Picture(png, HOSTILE, HOSTILE)],
        settings={HOSTILE: {HOSTILE: HOSTILE}, "one line": HOSTILE},
        commands=[HOSTILE],
        notes=[HOSTILE],
        tables=[Table((HOSTILE,), ((HOSTILE,),), (False,), HOSTILE)],
    )
    write_report(tmp_path / "report.html", report)
    html = (tmp_path / "report.html").read_text()
    page = Page(html)
    assert "<script" not in html
    assert page.text.count(HOSTILE) > 15
    assert any(image["alt"] == HOSTILE for image in page.of("img"))


def test_the_report_can_be_made_again_from_its_tables(tmp_path):
    write_results_csv(tmp_path / "results.csv", results())
    write_requests_csv(tmp_path / "requests.csv", requests())
    write_report(tmp_path / "1.html", Report("T", results(), requests(), notes=["n"]))
    rows, asked = read_results_csv(tmp_path / "results.csv"), read_requests_csv(tmp_path / "requests.csv")
    write_report(tmp_path / "2.html", Report("T", rows, asked, notes=["n"]))
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


@pytest.mark.parametrize("some", [[], [ResultRow("c", "s", 0, 1, 5, 1.0, "p", "v", "LV", "dice", float("nan"))]])
def test_a_report_without_results_says_so(tmp_path, some):
    write_report(tmp_path / "report.html", Report("Empty", some))
    page = Page((tmp_path / "report.html").read_text())
    assert re.search("no results yet|no 3D Dice", page.text)
    assert page.of("img") == []


def test_one_strategy_makes_a_report(tmp_path):
    write_report(tmp_path / "report.html", Report("One", results(("random",))))
    assert "the only strategy" in Page((tmp_path / "report.html").read_text()).text
