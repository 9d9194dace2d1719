"""Checksums: the clusters' own are compared where they tell them, and what was not verified is not called so."""

from __future__ import annotations

import shutil

import pytest
from desk import both, fill, of_file, sha256
from ssh import Cluster


@both
def test_what_cannot_be_verified_fails_only_where_it_must(desk, pair):
    _, files = pair
    report = desk.misses("--verify", "always")
    assert (report["transferred"], report["failed"]) == (2, 2)
    failed = [file for file in report["files"] if file["status"] == "failed"]
    assert all(file["cluster"] == "two" and "cannot be verified" in file["error"] for file in failed)
    assert all("--verify auto" in file["hint"] for file in failed)
    desk_has = {path.name for path in desk.output.glob("*.pkl")}
    assert desk_has == set(files[0])
    report = desk.fetches("--verify", "auto")
    desk.has(*files)
    assert "not verified" in report["warnings"][0]
    assert desk.misses("--verify", "always")["failed"] == 2, "a manifest does not replace a checksum"


def test_never_means_never(desk, single):
    report = desk.fetches("--verify", "never")
    assert report["verified"] == 0
    assert not any(file["verified"] for file in report["files"])
    report = desk.fetches("--verify", "always")
    assert (report["transferred"], report["bytes"], report["verified"]) == (0, 0, 2), "verified without a transfer"
    assert all(entry["verified"] for entry in desk.manifest("one").values())


LIARS = {
    "wrong": f"echo {'0' * 64}",
    "garbage": "echo permission to speak",
    "absent": "exit 127",
    "silent": "exec sleep 20",
}


@pytest.fixture(scope="module")
def liar():
    """A cluster whose programs for checksums are others."""
    folder = Cluster.make_folder("liar")
    (folder / "bin").mkdir()
    cluster = Cluster("liar", SetEnv=f"PATH={folder}/bin:/usr/bin:/bin")
    yield cluster, [folder / "bin" / name for name in ("sha256sum", "openssl")]
    cluster.remove()
    shutil.rmtree(folder)


@pytest.mark.parametrize("kind, transport", [*((kind, "ssh2") for kind in LIARS), ("wrong", "openssh")])
def test_checksums_that_are_wrong_or_none(desk, liar, kind):
    cluster, scripts = liar
    for script in scripts:
        script.write_text(f"#!/bin/sh\n{LIARS[kind]}\n")
        script.chmod(0o755)
    tree = cluster.tree()
    files = fill(tree)
    desk.enrol(cluster, tree)
    if kind == "wrong":
        report = desk.misses()
        assert report["failed"] == 2
        for name, data in files.items():
            error = of_file(report, name)["error"]
            assert "0" * 64 in error and sha256(data) in error
        assert not list(desk.output.glob("*.pkl"))
        assert desk.fetches("--verify", "never")["transferred"] == 2
    else:
        report = desk.fetches("--timeout", "1")
        assert report["verified"] == 0 and "not verified" in report["warnings"][0]
    desk.has(files)
