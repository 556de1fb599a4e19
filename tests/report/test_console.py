"""The table at the end of a run."""

import re

import pytest

from xdistil.report import build_report, report_table
from xdistil.report.console import duration


def test_the_table_says_what_the_run_reached(report):
    table = report_table(report)
    assert re.search(r"teacher +mBERT +177,900,000 +80\.00", table)
    assert re.search(r"student +bilstm-50-200 +5,140,000 +76\.00", table)
    assert " F1  precision  recall" in table
    assert re.search(r"retention +95\.0% of the teacher's F1", table)
    assert re.search(r"compression +34\.6x", table)
    assert re.search(r"speed-up, batch 1 +45\.0x +900\.0 ms -> 20\.00 ms", table)
    assert re.search(r"speed-up, batch 32 +45\.0x", table)
    assert re.search(r"th +85\.00 +80\.00 +94\.1%", table)
    assert "1 h 12 min in all" in table
    assert "3.0 GiB; 1 teacher pass" in table
    assert not table.endswith("\n")


def test_it_fits_100_columns_with_long_names_and_41_languages(report_arguments):
    for role in ("teacher", "student"):
        report_arguments[role]["name"] = "/a/very/long/folder/name" * 5 + "/" + role
        row = report_arguments[role]["test"]["per_language"]["de"]
        report_arguments[role]["test"]["per_language"] = {
            f"language-{i:02d}": row for i in range(41)
        }
    report_arguments["latency"][0]["runtime"] = "TensorFlow graph / xla, " * 5
    table = report_table(build_report(**report_arguments))
    assert max(map(len, table.splitlines())) <= 100
    assert len(table.splitlines()) < 40
    assert "name/teacher" in table
    assert table.count("72.00") == 41


def test_wide_characters_keep_the_columns_straight(report_arguments):
    report_arguments["student"]["name"] = "学生"
    lines = report_table(build_report(**report_arguments)).splitlines()
    # Each of the two characters takes two cells of a terminal.
    assert lines[1].index("177,900,000") - lines[2].index("  5,140,000") == 2


def test_a_report_without_test_and_latency_still_has_a_table(report_arguments):
    report_arguments["teacher"]["test"] = report_arguments["student"]["test"] = None
    report_arguments["latency"] = []
    table = report_table(build_report(**report_arguments))
    assert "compression" in table
    assert "retention" not in table
    assert "by language" not in table


def test_a_language_that_only_one_side_has_is_shown_with_a_dash(report_arguments):
    del report_arguments["student"]["test"]["per_language"]["th"]
    assert re.search(r"th +85\.00 +- +-", report_table(build_report(**report_arguments)))


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (59.97, "1 min 00 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 00 min"),
        (3900, "1 h 05 min"),
    ],
)
def test_durations_read_well(seconds, words):
    assert duration(seconds) == words
