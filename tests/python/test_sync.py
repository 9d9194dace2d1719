"""``embstore sync`` against two real clusters: what arrives, what is told of it, and what a second run does."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from desk import OLD, both, fill, finish, of_file, put, sha256
from harness import clean_error, contents, strict_json
from relay import Relay
from ssh import needs_root, wait_until

FIELDS = {"file", "cluster", "path", "bytes", "status", "sha256", "verified", "resumed_from", "error", "hint"}


def state(folder) -> dict:
    """What tells that a file was not touched."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size) for path in folder.iterdir()}


# What arrives ---------------------------------------------------------------------------------------------------------


@both
def test_two_clusters_at_once(desk, pair):
    trees, files = pair
    report = desk.fetches()
    desk.has(*files)
    total = sum(len(data) for some in files for data in some.values())
    assert (report["transferred"], report["skipped"], report["failed"]) == (4, 0, 0)
    assert report["bytes"] == total
    assert [file["file"] for file in report["files"]] == [*files[0], *files[1]]
    for tree, some, cluster in zip(trees, files, ("one", "two")):
        entries = desk.manifest(cluster)
        assert set(entries) == set(some)
        for name, data in some.items():
            told = of_file(report, name)
            assert FIELDS <= set(told)
            assert told["cluster"] == cluster and told["path"] == str(tree / name) and told["status"] == "transferred"
            assert (told["bytes"], told["sha256"], told["resumed_from"]) == (len(data), sha256(data), 0)
            assert told["error"] is None and told["verified"] is (cluster == "one")
            remote, local = (tree / name).stat(), (desk.output / name).stat()
            assert local.st_mtime == remote.st_mtime >= OLD
            entry = entries[name]
            assert (entry["size"], entry["modified"]) == (len(data), int(remote.st_mtime))
            assert (entry["path"], entry["sha256"]) == (str(tree / name), sha256(data))
            assert "127.0.0.1" in entry["host"] and entry["verified"] is (cluster == "one")
    assert report["verified"] == 2
    assert len(report["warnings"]) == 1 and "two: 2 files not verified" in report["warnings"][0]


@both
def test_a_second_run_transfers_nothing(desk, one, transport):
    """Counted on the wire: nothing passes but the greeting and the list of files."""
    tree = one.tree()
    files = fill(tree, size=1_000_000)
    with Relay(one.port) as relay:
        desk.enrol(one, tree, port=relay.port)
        assert desk.fetches()["transferred"] == 2
        before, (_, down) = state(desk.output), relay.counts()
        assert down > 2_000_000
        report = desk.fetches()
        assert (report["transferred"], report["skipped"], report["bytes"]) == (0, 2, 0)
        assert report["verified"] == 2, "what was verified once is"
        assert relay.counts()[1] - down < 20_000
    assert state(desk.output) == before
    desk.has(files)


@both
def test_many_files_on_several_connections(desk, one):
    tree = one.tree()
    files = fill(tree, count=15, size=20_000)
    desk.enrol(one, tree)
    assert desk.fetches("--jobs", "4")["transferred"] == 15
    desk.has(files)


def test_auto_takes_one_of_the_transports(desk, single):
    desk.transport = "auto"
    assert desk.fetches()["transferred"] == 2


def test_a_file_that_changed_on_the_cluster_is_fetched_again(desk, single):
    tree, files = single
    desk.fetches()
    first, second = files
    files[first] = put(tree, first, len(files[first]), seed=5, modified=OLD + 100)
    report = desk.fetches()
    assert (report["transferred"], report["skipped"]) == (1, 1)
    assert of_file(report, first)["status"] == "transferred"
    desk.has(files)
    assert desk.manifest("one")[first]["modified"] == OLD + 100

    files[second] = put(tree, second, len(files[second]) + 7, seed=6, modified=OLD + 1)
    assert desk.fetches()["transferred"] == 1, "the time is the old one, the size is not"
    desk.has(files)


def test_a_new_file_is_fetched_and_one_that_went_is_kept(desk, single):
    tree, files = single
    desk.fetches()
    files["cluster1_gpu9.pkl"] = put(tree, "cluster1_gpu9.pkl", seed=9)
    (tree / "cluster1_gpu0.pkl").unlink()
    report = desk.fetches()
    assert (report["transferred"], report["skipped"]) == (1, 1)
    desk.has(files)


@pytest.mark.parametrize("damage", ["edited", "truncated", "removed", "dated"])
def test_what_was_damaged_here_is_mended(desk, single, damage):
    tree, files = single
    desk.fetches()
    name = "cluster1_gpu1.pkl"
    path = desk.output / name
    if damage == "edited":
        path.write_bytes(b"x" + files[name][1:])
    elif damage == "truncated":
        path.write_bytes(files[name][:1000])
    elif damage == "removed":
        path.unlink()
    else:
        os.utime(path, (OLD + 5, OLD + 5))
    report = desk.fetches()
    assert report["transferred"] == (0 if damage == "dated" else 1), "the same bytes are not fetched for their date"
    desk.has(files)
    assert path.stat().st_mtime == (tree / name).stat().st_mtime


def test_a_file_that_was_brought_otherwise_is_taken_over_by_its_checksum(desk, pair):
    """Where the cluster tells no checksum, the same size and even the same time prove nothing: it is fetched."""
    trees, files = pair
    desk.output.mkdir()
    for tree, some in zip(trees, files):
        for name in some:
            shutil.copy2(tree / name, desk.output / name)
    other = "cluster1_gpu1.pkl"
    (desk.output / other).write_bytes(bytes(len(files[0][other])))
    report = desk.fetches()
    same = of_file(report, "cluster1_gpu0.pkl")
    assert same["status"] == "skipped" and same["verified"] and same["sha256"] == sha256(files[0]["cluster1_gpu0.pkl"])
    assert of_file(report, other)["status"] == "transferred", "the same size, and other bytes"
    assert all(of_file(report, name)["status"] == "transferred" for name in files[1])
    desk.has(*files)
    assert desk.fetches()["skipped"] == 4


@both
def test_one_name_on_two_clusters(desk, one, two):
    trees = one.tree(), two.tree()
    files = fill(trees[0], cluster=1)
    desk.enrol(one, trees[0])
    desk.enrol(two, trees[1])
    twin = "cluster1_gpu1.pkl"
    put(trees[1], twin, seed=8)
    files["cluster2_gpu0.pkl"] = put(trees[1], "cluster2_gpu0.pkl")
    report = desk.misses()
    told = [file for file in report["files"] if file["file"] == twin]
    assert [file["status"] for file in told] == ["transferred", "failed"]
    assert twin in told[1]["error"] and "one" in told[1]["error"] and told[1]["hint"]
    desk.has(files)
    report = desk.misses("--clusters", "two")
    assert of_file(report, twin)["status"] == "failed", "also where the first cluster is not asked"
    desk.has(files)


@pytest.mark.parametrize(
    "folder, transport",
    [("it's here; $(touch x)", "openssh"), ("it's here; $(touch x)", "ssh2"), ("ä ö/東京", "ssh2"), ("a%b\"c*", "ssh2")],
)
def test_folders_with_odd_names(desk, one, folder):
    tree = one.tree() / folder
    tree.mkdir(parents=True)
    files = fill(tree)
    desk.enrol(one, tree)
    report = desk.fetches()
    assert report["verified"] == 2
    desk.has(files)


@needs_root
@both
def test_the_folder_of_the_script_is_the_default(desk, one):
    tree = one.user.home / "mapper_embeddings" / "embeddings"
    tree.mkdir(parents=True, exist_ok=True)
    try:
        files = fill(tree)
        desk.enrol(one, None)
        desk.fetches()
        desk.has(files)
    finally:
        shutil.rmtree(tree.parent)


# Flags ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["one", "two"], ["one two"], ["one,two"], ["  two  one "]])
def test_clusters_as_words_or_as_one_string(desk, pair, words):
    report = desk.fetches("--clusters", *words)
    assert report["transferred"] == 4
    assert [file["cluster"] for file in desk.fetches("--clusters", "two")["files"]] == ["two", "two"]


def test_a_cluster_named_twice_is_refused(desk, pair):
    result = desk.sync("--clusters", "one", "two", "one")
    clean_error(result)
    assert "one is named twice" in result.said


def test_a_pattern_chooses(desk, single):
    tree, files = single
    put(tree, "notes.txt", 10)
    put(tree, "cluster1_gpu0.pkl.tmp", 10)
    assert desk.fetches("--pattern", "*_gpu1.*")["transferred"] == 1
    desk.has({name: files[name] for name in ("cluster1_gpu1.pkl",)})
    assert desk.fetches()["transferred"] == 1
    desk.has(files)
    assert desk.fetches("--pattern", "*.txt")["files"][0]["file"] == "notes.txt"
    result = desk.sync("--pattern", "a[")
    clean_error(result)


def test_another_folder_here_and_there(desk, single, one):
    tree, _ = single
    below = tree / "below"
    below.mkdir()
    files = fill(below, cluster=3)
    desk.fetches("--remote-dir", f"{below}/", "-o", "some/where")
    desk.output = desk.folder / "some" / "where"
    desk.has(files)


@both
def test_a_dry_run_writes_nothing(desk, single):
    tree, files = single
    put(tree, "cluster1_gpu7.pkl", seed=7)
    before = contents(desk.folder)
    result = desk.sync("--dry-run")
    assert result.code == 0 and "3 files to be fetched" in result.out
    assert all(name in result.out for name in files)
    report = desk.fetches("-n")
    assert report["dry_run"] is True and report["missing"] == 3
    assert report["bytes"] == 0
    assert {file["status"] for file in report["files"]} == {"missing"}
    assert contents(desk.folder) == before
    desk.fetches()
    before = contents(desk.folder)
    (tree / "cluster1_gpu0.pkl").touch()
    report = desk.fetches("--dry-run")
    assert report["missing"] == 1 and report["skipped"] == 2
    assert contents(desk.folder) == before


@pytest.mark.parametrize("jobs", [1, 3])
@both
def test_no_more_connections_than_asked_for(desk, one, jobs):
    tree = one.tree()
    files = fill(tree, count=6)
    with Relay(one.port) as relay:
        desk.enrol(one, tree, port=relay.port)
        desk.fetches("--jobs", str(jobs), "--verify", "never")
        assert relay.connections() == jobs
    desk.has(files)


def test_a_limited_rate_is_kept(desk, single):
    """Not how slow it is, but that it is no faster: a machine under load cannot break that."""
    began = time.monotonic()
    report = desk.fetches("--limit-rate", "500k")
    assert time.monotonic() - began > 0.8 * (report["bytes"] - 250_000) / 500_000
    assert report["transferred"] == 2


@pytest.mark.parametrize(
    "flags",
    [
        ("--limit-rate", "fast"),
        ("--jobs", "0"),
        ("--timeout", "soon"),
        ("--transport", "telnet"),
        ("--verify", "maybe"),
        ("--retries", "many"),
    ],
)
def test_wrong_usage(desk, flags):
    result = desk.sync(*flags)
    assert result.code == 2 and flags[0] in result.err


# What is said ---------------------------------------------------------------------------------------------------------


def test_words_for_people(desk, pair):
    result = desk.sync()
    assert result.code == 0
    assert "✓ 4 files fetched" in result.out and "1.20 MB" in result.out and "MB/s" in result.out
    assert "⚠" in result.out and "not verified" in result.out
    assert "embstore merge embeddings" in result.out, "what to do next"
    for name in ("cluster1_gpu0.pkl", "cluster2_gpu1.pkl"):
        assert name in result.err, "progress names what has come"
    assert "\x1b" not in result.err + result.out
    again = desk.sync()
    assert "✓ 4 files up to date" in again.out and "fetched" not in again.out


def test_quiet_says_nothing_and_json_one_object(desk, single):
    result = desk.sync("--quiet", "--json")
    assert result.code == 0 and result.err == ""
    assert result.json()["transferred"] == 2 and result.out.count("\n") == 1
    assert desk.sync("--quiet").err == ""


def test_progress_as_json_lines(desk, single):
    result = desk.sync("--progress", "json", "--json")
    assert result.code == 0
    lines = [strict_json(line) for line in result.err.splitlines()]
    assert lines and all(isinstance(line, dict) for line in lines)
    assert any("cluster1_gpu1.pkl" in json.dumps(line) for line in lines)


def test_two_processes_do_not_meet(desk, single):
    tree, files = single
    process = desk.start("--limit-rate", "400k")
    try:
        wait_until(lambda: desk.landed() > 0, "the first one has begun")
        result = desk.sync()
        clean_error(result)
        assert "another embstore is fetching from one" in result.said
        assert finish(process).code == 0
    finally:
        process.kill()
    desk.has(files)
