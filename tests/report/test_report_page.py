import base64
import hashlib
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from seqcl.errors import UsageError
from seqcl.report import (
    Comparison,
    Confusion,
    ReportContent,
    Row,
    Scatter,
    Table,
    render_report,
    write_report,
)

_VOID = {"meta", "link", "br", "hr", "img", "input"}
_HOSTILE = "\"><script>alert(1)</script><!-- & ' $title"


class Page(HTMLParser):
    """Tags must nest; text, ids and scripts are kept."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids += [value for name, value in attrs if name == "id" and value]
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"attribute given twice: {attrs}"
        if tag == "script":
            self.scripts.append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1:] == [tag], f"</{tag}> closes nothing"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.text += data

    @property
    def payload(self) -> dict:
        return json.loads(self.scripts[0])


def test_tags_nest_and_ids_are_unique(content: ReportContent) -> None:
    page = Page(render_report(content))
    assert len(page.ids) == len(set(page.ids))
    assert ("lang", "en") in page.attributes
    assert page.tags.count("title") == page.tags.count("h1") == 1


def test_everything_given_is_on_the_page(content: ReportContent) -> None:
    page = Page(render_report(content))
    cells = ["0.865", "0.842 – 0.887", "0.451", "0.712", "–", "no clusters", "Three seeds.", "ARI"]
    facts = ["1,234", "18.2", "one file was skipped", "Up by 6 points.", "2025-06-01 14:30"]
    for text in [*cells, *facts, content.command, "modality: sequence", "17", "21", "0.610"]:
        assert text in page.text


def test_a_bare_title_gives_a_page_without_sections() -> None:
    page = Page(render_report(ReportContent(title="Empty")))
    assert page.tags.count("section") == 0
    assert page.tags.count("nav") == 0
    assert page.payload == {"charts": [], "map": None}


@pytest.mark.parametrize(
    ("field", "section"),
    [
        ("comparisons", "comparison"),
        ("facts", "run"),
        ("command", "run"),
        ("notes", "notes"),
        ("tables", "results"),
        ("scatter", "map"),
        ("confusion", "confusion"),
        ("few_labels", "few-labels"),
        ("curves", "curves"),
        ("preset", "preset"),
    ],
)
def test_a_section_stands_alone(content: ReportContent, field: str, section: str) -> None:
    only = replace(ReportContent(title="One part"), **{field: getattr(content, field)})
    page = Page(render_report(only))
    assert page.tags.count("section") == 1
    assert section in page.ids


def test_a_left_out_part_leaves_no_section(content: ReportContent) -> None:
    page = Page(render_report(replace(content, scatter=None, notes=())))
    assert "map" not in page.ids
    assert "notes" not in page.ids
    assert page.payload["map"] is None


def test_hostile_text_is_shown_and_never_runs(content: ReportContent) -> None:
    rows = (Row(name=_HOSTILE, cells=(_HOSTILE, None), note=_HOSTILE),)
    hostile = replace(
        content,
        title=_HOSTILE,
        created=_HOSTILE,
        command=_HOSTILE,
        preset=_HOSTILE,
        facts={_HOSTILE: _HOSTILE},
        notes=(_HOSTILE,),
        comparisons=(Comparison(sentence=_HOSTILE),),
        tables=(Table(title=_HOSTILE, header=(_HOSTILE, "a", "b"), rows=rows, note=_HOSTILE),),
        scatter=Scatter(
            points=np.zeros((1, 2)), ids=[_HOSTILE], labels=[_HOSTILE], method=_HOSTILE
        ),
        confusion=Confusion(classes=(_HOSTILE,), counts=np.ones((1, 1), dtype=np.int64)),
        curves=[{"step": 0, _HOSTILE: 1.0}],
    )
    text = render_report(hostile)
    page = Page(text)
    assert page.tags.count("script") == 2
    assert "<script>alert" not in text
    assert "<!--" not in text
    assert page.text.count(_HOSTILE) >= 18
    assert page.payload["map"]["id"] == [_HOSTILE]
    assert page.payload["charts"][0]["title"] == _HOSTILE


def test_names_that_are_not_unicode_can_be_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"pump\xff\x00.csv")
    scatter = Scatter(points=np.zeros((1, 2)), ids=[name])
    write_report(tmp_path / "r.html", ReportContent(title=name, notes=(name,), scatter=scatter))
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert "pump\\udcff\ufffd.csv" in page.text
    assert page.payload["map"]["id"] == ["pump\\udcff\ufffd.csv"]


def test_nothing_is_loaded_from_elsewhere(content: ReportContent) -> None:
    text = render_report(content)
    for forbidden in ("http:", "https:", "src=", "@import", "url(", "innerHTML", "eval(", "fetch("):
        assert forbidden not in text, forbidden


def test_links_stay_on_the_page(content: ReportContent) -> None:
    page = Page(render_report(content))
    targets = [value for name, value in page.attributes if name == "href" and value]
    assert {target.removeprefix("#") for target in targets} - set(page.ids) == {"data:,"}


def test_the_policy_allows_exactly_the_page_script(content: ReportContent) -> None:
    text = render_report(content)
    script = Page(text).scripts[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in text
    assert "default-src 'none'" in text


def test_the_payload_holds_curves_then_few_labels(content: ReportContent) -> None:
    charts = Page(render_report(content)).payload["charts"]
    assert [chart["title"] for chart in charts] == ["loss", "lr", "Accuracy"]
    assert charts[0]["lines"][0]["y"][:2] == [1.0, 0.5]
    assert charts[2]["lines"][0]["low"] == [0.5, 0.7]


def test_many_notes_are_folded_and_counted() -> None:
    notes = tuple(f"note {index}." for index in range(250))
    text = Page(render_report(ReportContent(title="t", notes=notes))).text
    assert "190 more" in text
    assert "50 further notes are not shown." in text
    assert "note 199." in text
    assert "note 200." not in text


def test_the_script_stays_small() -> None:
    script = Page(render_report(ReportContent(title="t"))).scripts[1]
    assert len(script.splitlines()) < 400


def test_two_thousand_records_of_three_channels_stay_below_two_megabytes() -> None:
    rng = np.random.default_rng(0)
    scatter = Scatter(
        points=rng.normal(size=(2500, 2)),
        ids=[f"folder/recording {row}.csv#window {row}" for row in range(2500)],
        labels=[int(label) for label in rng.integers(0, 40, 2500)],
        series=rng.normal(size=(2500, 3, 200)),
    )
    curves = [{"step": s, **{f"m{k}": rng.normal() for k in range(10)}} for s in range(5000)]
    page = render_report(ReportContent(title="t", scatter=scatter, curves=curves))
    assert len(page.encode()) < 2_000_000


def test_the_same_content_gives_the_same_page(content: ReportContent) -> None:
    assert render_report(content) == render_report(content)


def test_a_failing_page_leaves_the_old_report_whole(
    tmp_path: Path, content: ReportContent, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(UsageError, match=r"report\.html: .* \(No space left on device\)"):
        write_report(path, content)
    assert [(item.name, item.read_text()) for item in tmp_path.iterdir()] == [
        ("report.html", "old")
    ]


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    message = re.escape(f"{tmp_path}/no/r.html: the report cannot be written (No such file")
    with pytest.raises(UsageError, match=message):
        write_report(tmp_path / "no" / "r.html", ReportContent(title="t"))
