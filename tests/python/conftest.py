"""What every test stands on: a binary that exists, and skips that nobody can overlook.

A skip must begin with "platform:" and say what is missing. Where ``CI`` is set any other skip is a failure, so a test
cannot quietly stop running there.
"""

from __future__ import annotations

import os

import pytest
from desk import Desk, fill
from harness import BIN
from redis_server import RedisServer
from ssh import IS_ROOT, Cluster


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


def pytest_report_header():
    if not IS_ROOT:
        return "not root: sync is tested with keys alone, as there is no user with a password"


@pytest.fixture(scope="session")
def one():
    """A cluster whose user has a shell, so that it tells checksums."""
    cluster = Cluster("one")
    yield cluster
    cluster.remove()


@pytest.fixture(scope="session")
def two():
    """A cluster whose user can do nothing but SFTP."""
    cluster = Cluster("two", shell=False)
    yield cluster
    cluster.remove()


@pytest.fixture(scope="module")
def redis_server():
    """A Redis server that wants a password."""
    server = RedisServer()
    yield server
    server.stop()


@pytest.fixture
def transport():
    """What is above the transports is tested with one of them where a test does not say ``both``."""
    return "ssh2"


@pytest.fixture
def desk(transport, tmp_path):
    return Desk(tmp_path / "desk", transport)


@pytest.fixture
def single(desk, one):
    """One cluster with two files; its folder and what is in it."""
    tree = one.tree()
    desk.enrol(one, tree)
    return tree, fill(tree)


@pytest.fixture
def pair(desk, one, two):
    """Two clusters with two files each; their folders and what is in them."""
    trees = one.tree(), two.tree()
    files = fill(trees[0], cluster=1), fill(trees[1], cluster=2)
    desk.enrol(one, trees[0])
    desk.enrol(two, trees[1])
    return trees, files


@pytest.fixture(scope="module")
def tree(one):
    """A folder with one file on a cluster."""
    made = one.tree()
    fill(made, count=1)
    return made
