"""The report of a run: report.json for programs, report.html and a table for people."""

from xdistil.report.console import report_table
from xdistil.report.page import report_page, write_page
from xdistil.report.report import build_report, load_report, main_metric, write_report
from xdistil.report.text_table import text_table

__all__ = [
    "build_report",
    "load_report",
    "main_metric",
    "report_page",
    "report_table",
    "text_table",
    "write_page",
    "write_report",
]
