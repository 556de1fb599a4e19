"""report.html: one file, well-formed, escaped, with everything of the report in it."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from xdistil.report import build_report, report_page, write_page
from xdistil.report.charts import line_chart

HISTORIES = {
    "representation": [{"epoch": 1, "loss": 0.5, "dev_loss": 0.6}, {"epoch": 2, "loss": 0.4}],
    "logits-head": [{"epoch": 1, "loss": 0.3, "logits": 0.3, "dev_metric": 0.7}],
}


class Checker(HTMLParser):
    """Elements that were opened and not closed, and every outside resource."""

    VOID = ("meta", "br", "link", "img", "input")

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.resources, self.text = [], [], [], ""

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        self.resources += [v for k, v in attributes if k in ("src", "href", "srcset", "action")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def checked(page: str) -> Checker:
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    return checker


def test_the_page_is_well_formed_and_needs_nothing_else(report):
    page = report_page(report, settings={"seed": 7}, histories=HISTORIES)
    checker = checked(page)
    assert checker.resources == []
    assert not {"script", "link", "img", "iframe", "object"} & set(checker.seen)
    assert "url(" not in page and "@import" not in page and "http" not in page
    for picture in re.findall(r"<svg.*?</svg>", page, re.S):
        ElementTree.fromstring(picture)


def test_the_page_says_what_the_run_reached(report):
    text = checked(report_page(report, settings={"embedding_dim": 50}, histories=HISTORIES)).text
    for part in (
        "bilstm-50-200 distilled from mBERT",
        "recipe D4.2",
        "95.0%",
        "34.6×",
        "45.0×",
        "faster at batch 32",
        "177,900,000",
        "representation",
        "logits-head",
        "71.00",
        "94.1% kept",
        "1 h 12 min",
        "Peak memory 3.00 GiB",
        '"embedding_dim": 50',
    ):
        assert part in text, part


def test_bars_are_as_long_as_the_scores(report):
    page = report_page(report)
    widths = re.findall(r'class="bar (teacher|student)" style="width:([\d.]+)%"', page)
    assert widths == [
        ("teacher", "75.00"),
        ("student", "72.00"),
        ("teacher", "85.00"),
        ("student", "80.00"),
    ]


def test_names_and_settings_are_escaped(report_arguments):
    evil = '<script>alert("1")</script>'
    report_arguments["teacher"]["name"] = evil
    report_arguments["student"]["test"]["per_language"][evil] = {"f1": 0.5}
    report_arguments["stages"][0]["name"] = evil
    report_arguments["stages"][0]["losses"] = {evil: 1.0}
    report_arguments["latency"][0]["runtime"] = evil
    page = report_page(
        build_report(**report_arguments), settings={evil: evil}, histories={evil: [{evil: 1.0}]}
    )
    assert "script" not in checked(page).seen
    assert "<script" not in page


def test_a_report_without_test_latency_and_stages_has_a_page(report_arguments):
    report_arguments["teacher"]["test"] = report_arguments["student"]["test"] = None
    report_arguments["latency"] = report_arguments["stages"] = []
    text = checked(report_page(build_report(**report_arguments))).text
    assert "34.6×" in text
    assert "by language" not in text and "Latency" not in text and "Stage by stage" not in text


def test_values_that_cannot_be_drawn_leave_a_gap(report):
    histories = {"representation": [{"loss": float("nan")}, {"loss": 0.1}, {"loss": None}]}
    page = report_page(report, histories=histories)
    assert "nan" not in page.split("<body>")[1].lower()
    assert page.count("<circle") == 1 + 1  # the one loss, and the one stage with a dev metric


def test_the_sum_of_the_losses_is_drawn_only_where_there_are_several(report):
    one = {"representation": [{"epoch": 1, "loss": 0.5, "representation": 0.5, "dev_loss": 0.6}]}
    page = report_page(report, histories=one)
    assert "<h3>representation</h3>" in page and "<h3>loss</h3>" not in page
    several = {"representation": [{"epoch": 1, "loss": 0.5, "logits": 0.3, "labels": 0.2}]}
    assert "<h3>loss</h3>" in report_page(report, histories=several)


def test_the_page_replaces_an_older_one_whole(report, tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    write_page(path, report)
    assert path.read_text(encoding="utf-8") == report_page(report)
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_name_that_is_no_utf8_does_not_break_the_page(report, tmp_path):
    report["teacher"]["name"] = b"caf\xe9".decode("utf-8", "surrogateescape")
    write_page(tmp_path / "report.html", report)
    assert "caf?" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_line_breaks_at_gaps_and_where_a_stage_begins():
    chart = line_chart(
        {"loss": [4.0, 3.0, None, 2.0, 2.5, 1.0]},
        colors={"loss": "student"},
        label="loss",
        boundaries=[5],
    )
    path = re.search(r'd="([^"]+)" stroke="var\(--student\)"', chart)[1]
    assert re.sub(r"[\d. ]+", "", path) == "MLMLM"


@pytest.mark.parametrize("values", [[0.0], [1e-9, 5.0], [-3.0, 4.0], [7.0, 7.0], [1e8, 1.1e8]])
def test_any_range_of_values_stays_on_the_chart(values):
    chart = line_chart({"a": values}, colors={"a": "dev"}, label="a", width=360, height=170)
    for y in re.findall(r'cy="([\d.-]+)"', chart):
        assert 10 <= float(y) <= 146
    assert chart.count('stroke="var(--line)"') >= 1


def test_nothing_to_draw_is_no_chart():
    assert line_chart({"a": [None]}, colors={"a": "dev"}, label="a") == ""
