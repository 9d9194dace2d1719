"""What goes wrong on real clusters: files that change, servers that refuse, disks that fill up.

One bad file or cluster does not stop the rest; what is missing is told once, with its remedy, and the exit code is 1.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading

import pytest
from desk import OLD, Desk, both, fill, finish, of_file, put
from harness import clean_error, strict_json
from relay import Relay
from ssh import IS_ROOT, Cluster, free_port, needs_root, wait_until


@pytest.fixture
def single(desk, one):
    """As everywhere, with files that take a moment."""
    tree = one.tree()
    desk.enrol(one, tree)
    return tree, fill(tree, count=2, size=1_000_000)


# Files that change while they are read --------------------------------------------------------------------------------


def during(desk: Desk, change, *args) -> dict:
    """Changes something on the cluster once the transfer has begun; returns the result."""
    process = desk.start("--jobs", "1", "--limit-rate", "3M", "--json", *args)
    wait_until(lambda: desk.landed() > 300_000, "it has begun")
    change()
    result = finish(process)
    return {**result.json(), "code": result.code, "said": result.said, "err": result.err}


# The larger one is fetched first.
FIRST = "cluster1_gpu1.pkl"


@both
def test_a_file_that_is_truncated(desk, single):
    tree, files = single
    report = during(desk, lambda: os.truncate(tree / FIRST, 123_456))
    files[FIRST] = files[FIRST][:123_456]
    assert report["code"] == 0 and of_file(report, FIRST)["bytes"] == 123_456
    desk.has(files)


def test_a_file_that_is_replaced(desk, single):
    """By a rename, as careful programs do: the server goes on reading the old one."""
    tree, files = single

    def replace() -> None:
        files[FIRST] = put(tree, "new", len(files[FIRST]), seed=21, modified=OLD + 9)
        (tree / "new").rename(tree / FIRST)

    report = during(desk, replace)
    assert report["code"] == 0
    desk.has(files)


def test_a_file_that_is_written_over_in_place(desk, single):
    tree, files = single

    def write() -> None:
        files[FIRST] = put(tree, FIRST, len(files[FIRST]), seed=22, modified=OLD + 9)

    report = during(desk, write, "--progress", "json")
    assert report["code"] == 0
    desk.has(files)
    fractions = [line["fraction"] for line in map(strict_json, report["err"].splitlines()) if "fraction" in line]
    assert fractions and max(filter(None, fractions)) <= 1, "what is fetched again is not counted twice"


def test_a_file_that_grows_once(desk, single):
    tree, files = single

    def append() -> None:
        with open(tree / FIRST, "ab") as file:
            file.write(b"more")

    report = during(desk, append)
    files[FIRST] += b"more"
    assert report["code"] == 0
    desk.has(files)


def test_a_file_that_goes_on_growing(desk, single):
    """Fetched again, then given up; the other one arrives."""
    tree, files = single
    done = threading.Event()

    def grow() -> None:
        with open(tree / FIRST, "ab", buffering=0) as file:
            while not done.wait(0.02):
                file.write(b"more")

    writer = threading.Thread(target=grow)
    try:
        report = during(desk, writer.start)
    finally:
        done.set()
        writer.join()
    assert report["code"] == 1
    error = of_file(report, FIRST)
    assert "changed while it was read" in error["error"] and "still writes to it" in error["hint"]
    other = "cluster1_gpu0.pkl"
    assert (desk.output / other).read_bytes() == files[other]
    assert not (desk.output / FIRST).exists()
    files[FIRST] = (tree / FIRST).read_bytes()
    assert desk.fetches()["transferred"] == 1, "it is still now"
    desk.has(files)


@both
def test_a_file_that_is_removed(desk, single):
    tree, files = single
    report = during(desk, lambda: [path.unlink() for path in tree.iterdir()])
    assert report["code"] == 1 and report["failed"] == 2
    assert all("no such file" in file["error"] and file["hint"] for file in report["files"])
    assert not list(desk.output.glob("*.pkl"))


# Clusters that refuse -------------------------------------------------------------------------------------------------


BAD = {
    "refused": "connection refused",
    "unknown host": "unknown host",
    "no folder": "no such folder: /nowhere/embeddings",
    "no file": "no file in",
    "no credentials": "there are no credentials",
    "no ssh": "no SSH",
    "not a folder": "/a-file",
    "denied": "permission denied",
}
REMEDY = {
    "refused": "sshd runs there",
    "unknown host": "ping",
    "no folder": "--remote-dir",
    "no file": "--pattern",
    "no credentials": "chmod 600",
    "no ssh": "address and port",
    "denied": "chmod",
}


@pytest.fixture
def bad(desk, one):
    """Makes ``bad`` a cluster with a fault."""
    made = []

    def make(what: str) -> None:
        fields = {}
        tree = one.tree()
        if what == "refused":
            fields["port"] = free_port()
        elif what == "unknown host":
            fields["address"] = "no-such-host.invalid"
        elif what == "no folder":
            fields["remote_dir"] = "/nowhere/embeddings"
        elif what == "not a folder":
            (tree / "a-file").touch()
            fields["remote_dir"] = str(tree / "a-file")
        elif what == "denied":
            fields["remote_dir"] = str(tree / "closed")
            (tree / "closed").mkdir(mode=0o700 if IS_ROOT else 0)
        elif what == "no ssh":
            listener = socket.create_server(("127.0.0.1", 0))
            threading.Thread(target=serve_web, args=(listener,), daemon=True).start()
            made.append(listener)
            fields["port"] = listener.getsockname()[1]
        desk.enrol(one, tree, name="bad", **fields)
        if what == "no credentials":
            (desk.credentials / "bad.credentials").unlink()

    yield make
    for listener in made:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def serve_web(listener: socket.socket) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        with client:
            client.recv(1000)
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n<html>\x1b[2J</html>\r\n" * 50)


@pytest.mark.parametrize("what", BAD)
@both
def test_one_bad_cluster_does_not_stop_the_other(desk, bad, two, what):
    bad(what)
    tree = two.tree()
    desk.enrol(two, tree)
    files = fill(tree, cluster=2)
    result = desk.sync()
    clean_error(result)
    assert BAD[what] in result.said and REMEDY.get(what, "") in result.said
    assert "2 files fetched" in result.out, "the summary is of what came"
    assert "\x1b" not in result.out + result.err
    assert result.err.splitlines()[-2].startswith("✗ bad: "), "what is missing is told at the end"
    desk.has(files)
    report = desk.misses()
    assert (report["skipped"], report["failed"]) == (2, 1)
    failed = [file for file in report["files"] if file["status"] == "failed"]
    assert failed[0]["cluster"] == "bad" and BAD[what] in failed[0]["error"] and failed[0]["hint"]
    assert any(BAD[what] in warning for warning in report["warnings"])


@both
def test_a_file_that_the_user_may_not_read(desk, single):
    tree, files = single
    (tree / FIRST).chmod(0o600 if IS_ROOT else 0)
    report = desk.misses()
    assert (report["transferred"], report["failed"]) == (1, 1)
    failed = of_file(report, FIRST)
    assert "permission denied" in failed["error"] and "chmod" in failed["hint"]
    assert str(tree / FIRST) in failed["error"]
    (tree / FIRST).chmod(0o644)
    assert desk.fetches()["transferred"] == 1
    desk.has(files)


@both
def test_a_cluster_without_sftp(desk, one):
    cluster = Cluster("plain", Subsystem="other /bin/true")
    try:
        desk.enrol(cluster, cluster.tree())
        result = desk.sync()
        clean_error(result)
        assert "offers no SFTP" in result.said and "Subsystem sftp" in result.said
    finally:
        cluster.remove()


# Servers with little room for connections -----------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["openssh", "ssh2"])
def test_fewer_connections_where_more_are_refused(desk, one):
    tree = one.tree()
    files = fill(tree, count=5)
    with Relay(one.port, most=1) as relay:
        desk.enrol(one, tree, port=relay.port)
        result = desk.sync("--jobs", "4", "--verify", "never")
        assert result.code == 0, result.err
        assert relay.connections() == 1
    assert "going on with fewer connections" in result.err
    desk.has(files)


@pytest.mark.parametrize("settings", [{"MaxStartups": "1"}, {"MaxSessions": "1"}, {"MaxStartups": "2:90:3"}])
@both
def test_a_server_with_little_room(desk, settings):
    """What it refuses is its checksums at worst."""
    cluster = Cluster("small", **settings)
    try:
        tree = cluster.tree()
        files = fill(tree, count=6, size=100_000)
        desk.enrol(cluster, tree)
        report = desk.fetches("--jobs", "6", "--retries", "5")
        assert report["transferred"] == 6
        desk.has(files)
        assert report["verified"] == 6 or report["warnings"]
    finally:
        cluster.remove()


# This side ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(desk):
    """The download folder is a disk of 2 MB."""
    desk.output.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2M", "tmpfs", str(desk.output)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("platform: not allowed to mount a small disk")
    yield desk.output
    subprocess.run(["umount", str(desk.output)], check=True)


@needs_root
def test_a_disk_that_is_too_small_is_told_before_a_byte_moves(desk, one, small_disk):
    tree = one.tree()
    fill(tree, count=3, size=900_000)
    with Relay(one.port) as relay:
        desk.enrol(one, tree, port=relay.port)
        result = desk.sync()
        clean_error(result)
        assert relay.counts()[1] < 20_000
    assert "not enough space in embeddings" in result.said and "2.70 MB" in result.said
    assert not list(small_disk.glob("*.pkl*"))


@needs_root
@both
def test_a_disk_that_fills_up(desk, one, small_disk):
    tree = one.tree()
    files = fill(tree, count=2, size=700_000)
    desk.enrol(one, tree)
    process = desk.start("--jobs", "1", "--limit-rate", "700k", "--json")
    wait_until(lambda: desk.landed() > 100_000, "it has begun")
    hog = small_disk / "hog"
    try:
        hog.write_bytes(bytes(4_000_000))
    except OSError:
        pass
    result = finish(process)
    assert result.code == 1
    report = result.json()
    assert report["failed"] == 2
    assert all("No space left" in file["error"] and file["hint"] for file in report["files"]), report
    kept = desk.landed()
    hog.unlink()
    report = desk.fetches()
    assert report["bytes"] == sum(map(len, files.values())) - kept
    desk.has(files)


def test_things_in_the_way(desk, single):
    """A folder in a file's place, and a file in the folder's."""
    tree, files = single
    (desk.output / FIRST / "inside").mkdir(parents=True)
    report = desk.misses()
    assert (report["transferred"], report["failed"]) == (1, 1)
    assert FIRST in of_file(report, FIRST)["error"]
    assert (desk.output / FIRST / "inside").is_dir()
    (desk.folder / "a-file").write_text("kept")
    result = desk.sync("-o", "a-file")
    clean_error(result)
    assert (desk.folder / "a-file").read_text() == "kept"


def test_a_link_in_a_files_place_is_replaced_and_not_followed(desk, single, tmp_path):
    tree, files = single
    victim = tmp_path / "victim"
    victim.write_bytes(files[FIRST])
    before = victim.stat()
    desk.output.mkdir()
    (desk.output / FIRST).symlink_to(victim)
    desk.fetches()
    desk.has(files)
    assert not (desk.output / FIRST).is_symlink()
    assert (victim.stat().st_mtime_ns, victim.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_manifest_that_is_garbage(desk, single):
    tree, files = single
    desk.output.mkdir()
    garbage = b'\xff\xfe\x00 not JSON\n{"file": 3}\n' + json.dumps({"file": "../../x", "sha256": "y"}).encode() + b"\n"
    (desk.output / "one.manifest.jsonl").write_bytes(garbage)
    assert desk.fetches()["transferred"] == 2
    desk.has(files)
    assert desk.fetches()["skipped"] == 2


def test_a_closed_pipe_is_no_error(desk, single):
    process = desk.start("--progress", "json")
    process.stdout.close()
    process.stderr.close()
    assert process.wait(timeout=60) == 0
    desk.has(single[1])


def test_nothing_is_left_running(desk, single, one):
    desk.transport = "openssh"
    desk.fetches("--jobs", "4")
    wait_until(lambda: not one.sessions(), "every connection is closed")
