"""What every test stands on: a binary that exists, and skips that nobody can overlook.

A skip must begin with "platform:" and say what is missing. Where ``CI`` is set any other skip is a failure, so a test
cannot quietly stop running there.
"""

from __future__ import annotations

import os

import pytest
from harness import BIN


def pytest_sessionstart(session):
    if not BIN.exists():
        pytest.exit(f"no binary at {BIN}: cargo build --release, or set EMBSTORE_BIN", returncode=2)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not reason.removeprefix("Skipped: ").startswith("platform:"):
            report.outcome = "failed"
            report.longrepr = f"skipped in CI without a reason that the platform gives: {reason}"


def pytest_terminal_summary(terminalreporter):
    for report in terminalreporter.stats.get("skipped", []):
        terminalreporter.write_line(f"⚠ NOT RUN: {report.nodeid}: {report.longrepr[2]}", yellow=True)
