"""report.json keeps to its contract, or is not written."""

import json

import numpy as np
import pytest

from xdistil.errors import InputError
from xdistil.report import build_report, load_report, main_metric, write_report


def test_the_keys_are_those_of_the_contract(report):
    assert list(report) == [
        "task",
        "recipe",
        "seed",
        "teacher",
        "student",
        "retention",
        "compression",
        "latency",
        "stages",
        "seconds",
        "peak_memory_bytes",
        "teacher_passes",
        "truncation",
    ]


def test_retention_and_compression_are_ratios_of_what_was_counted(report):
    assert report["retention"] == pytest.approx(0.76 / 0.80)
    assert report["compression"] == pytest.approx(177_900_000 / 5_140_000)


def test_without_a_test_file_there_is_no_retention(report_arguments):
    report_arguments["student"]["test"] = None
    report = build_report(**report_arguments)
    assert report["retention"] is None
    assert report["compression"] > 34


def test_a_teacher_that_scores_zero_gives_no_retention(report_arguments):
    report_arguments["teacher"]["test"]["f1"] = 0.0
    assert build_report(**report_arguments)["retention"] is None


def test_classification_is_compared_by_accuracy(report_arguments):
    for role, accuracy in (("teacher", 0.9), ("student", 0.81)):
        report_arguments[role]["test"] = {
            "accuracy": accuracy,
            "f1_macro": 0.5,
            "per_language": {},
        }
    report = build_report(**report_arguments)
    assert report["retention"] == pytest.approx(0.9)
    assert main_metric(report["student"]["test"]) == "accuracy"


def test_numpy_values_become_plain_and_values_that_are_no_numbers_become_null(
    report_arguments, tmp_path
):
    report_arguments["stages"][0]["losses"]["loss"] = np.float32("nan")
    report_arguments["stages"][0]["dev_metric"] = float("inf")
    report_arguments["stages"][0]["steps"] = np.int64(30)
    report_arguments["peak_memory_bytes"] = np.int64(5)
    report = build_report(**report_arguments)
    write_report(tmp_path / "report.json", report)
    read = json.loads((tmp_path / "report.json").read_text(), parse_constant=pytest.fail)
    assert read["stages"][0]["losses"]["loss"] is None
    assert read["stages"][0]["dev_metric"] is None
    assert read["stages"][0]["steps"] == 30


def test_a_report_is_the_same_after_writing_and_reading(report, tmp_path):
    write_report(tmp_path / "report.json", report)
    assert load_report(tmp_path / "report.json") == report
    assert load_report(tmp_path) == report
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("seconds", "targets"), None, r"seconds\['targets'\] must be a number"),
        (("teacher", "parameters"), "many", r"teacher\['parameters'\] must be an integer"),
        (("teacher", "parameters"), True, r"teacher\['parameters'\] must be an integer"),
        (("latency", 0, "speedup"), "fast", r"latency\[0\]\['speedup'\] must be a number"),
        (("stages", 1, "losses"), [1], r"stages\[1\]\['losses'\] must be a dict"),
        (("stages", 1, "losses", "logits"), "x", r"stages\[1\].*'logits'"),
        (("student", "test", "f1"), None, r"student.test\['f1'\]"),
        (("recipe",), 4, r"report\['recipe'\] must be a string"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_with_its_place(report_arguments, place, value, message):
    inner = report_arguments
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises((ValueError, TypeError), match=message):
        build_report(**report_arguments)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (("seconds", "total"), "seconds lacks the key 'total'"),
        (("stages", 0, "dev_metric"), r"stages\[0\] lacks the key 'dev_metric'"),
        (("student", "test", "f1_variance"), "student.test lacks the key 'f1_variance'"),
        (("teacher", "name"), "teacher lacks the key 'name'"),
    ],
)
def test_a_missing_key_is_refused_with_its_place(report_arguments, place, message):
    inner = report_arguments
    for key in place[:-1]:
        inner = inner[key]
    del inner[place[-1]]
    with pytest.raises(ValueError, match=message):
        build_report(**report_arguments)


def test_a_report_that_breaks_the_contract_is_not_written(report, tmp_path):
    report["speed"] = 3
    with pytest.raises(ValueError, match="unknown key 'speed'"):
        write_report(tmp_path / "report.json", report)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b"\xff\xfe", None])
def test_a_file_that_is_no_report_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "report.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as error:
        load_report(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
