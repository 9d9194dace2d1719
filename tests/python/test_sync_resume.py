"""Interrupted at any moment: the same command goes on in the middle of each file, and next to nothing is fetched twice.

Counted are the bytes that cross the wire, by the relay, and those that embstore says it has received.
"""

from __future__ import annotations

import os
import re
import signal
import threading

import pytest
from desk import OLD, Desk, both, fill, finish, of_file, put
from harness import BIN, strict_json
from relay import Relay
from ssh import children_of, command_line, wait_until

# What may be fetched twice a connection: the packet that was not complete.
BUFFER = 256 * 1024
# A login, a listing, and what SSH adds to every packet.
LOGIN, FRAMING = 20_000, 0.02


def slow(desk: Desk, cluster, rate: float, count: int, size: int, **how):
    """A cluster behind a slow link, with files on it."""
    tree = cluster.tree()
    files = fill(tree, count=count, size=size)
    relay = Relay(cluster.port, rate=rate, **how)
    desk.enrol(cluster, tree, port=relay.port)
    return relay, tree, files


def size_of(files: dict[str, bytes]) -> int:
    return sum(len(data) for data in files.values())


def wire_limit(files: dict[str, bytes], kills: int, relay: Relay) -> float:
    return size_of(files) * (1 + FRAMING) + kills * BUFFER + relay.connections() * LOGIN


def in_mid_file(desk: Desk) -> bool:
    return any(path.stat().st_size > 0 for path in desk.output.glob("*.part") if path.exists())


class Notes(threading.Thread):
    """What a process says on stderr, as it says it."""

    def __init__(self, process) -> None:
        super().__init__(daemon=True)
        self.pipe, self.text = process.stderr, ""
        self.start()

    def run(self) -> None:
        for line in self.pipe:
            self.text += line.decode()

    def retries(self) -> int:
        return self.text.count("trying again")


@both
def test_the_servers_process_is_killed_again_and_again(desk, one):
    """Until ten files have been hit in the middle, in each of the two ways to the server."""
    hits, kills = 10, 0
    # What a server has sent before it is killed still arrives: a file is longer than the link holds.
    relay, _, files = slow(desk, one, rate=6e6, count=6, size=4_000_000)
    with relay:
        process = desk.start("--jobs", "6", "--retries", "5", "--verify", "never", "--json")
        notes, seen, killed = Notes(process), 0, set()
        try:
            while notes.retries() < hits:
                assert process.poll() is None, f"done after {kills} kills and {notes.retries()} hits:\n{notes.text}"
                victims = [pid for pid in one.sessions() if pid not in killed]
                if victims and desk.landed() > seen + 100_000:
                    seen = desk.landed()
                    one.kill_session(victims[0])
                    killed.add(victims[0])
                    kills += 1
            out = process.stdout.read()
            process.wait()
        finally:
            process.kill()
            notes.join()
            process.stdout.close()
            process.stderr.close()
        down, limit = relay.counts()[1], wire_limit(files, kills, relay)
    assert process.returncode == 0, notes.text
    desk.has(files)
    report = strict_json(out.decode())
    assert report["transferred"] == 6
    assert report["bytes"] <= size_of(files) + kills * BUFFER
    assert down <= limit, f"{down - size_of(files):,} bytes more than the files have, in {kills} kills"


@both
def test_killed_itself_again_and_again(desk, one):
    kills, jobs = 4, 3
    relay, _, files = slow(desk, one, rate=4e6, count=3, size=1_500_000)
    with relay:
        seen = 0
        for _ in range(kills):
            process = desk.start("--jobs", str(jobs))
            seen = wait_until(lambda: (n := desk.landed()) > seen + 500_000 and n, "more lands")
            below = children_of(process.pid)
            process.kill()
            finish(process)
            programs = (["ssh"], [str(BIN)])
            wait_until(lambda: not any(command_line(pid)[:1] in programs for pid in below), "no ssh is left")
            seen = desk.landed()
            assert in_mid_file(desk)
        report = desk.fetches("--jobs", str(jobs))
        down = relay.counts()[1]
        # What was on its way is lost too; the system's ssh takes it in before it ends, up to the window of a channel.
        limit = wire_limit(files, kills * jobs * (1 if desk.transport == "ssh2" else 8), relay)
    desk.has(files)
    assert report["verified"] == 3, "the whole of it has the checksum of the cluster"
    assert sum(file["resumed_from"] for file in report["files"]) > 0
    assert report["bytes"] < size_of(files) - seen + BUFFER
    assert down <= limit, f"{down - size_of(files):,} bytes more than the files have"


@pytest.mark.parametrize("transport", ["openssh"])
def test_a_link_that_is_cut_again_and_again(desk, one):
    cuts = 2
    # Not faster than it is read: a cut takes with it what has come and was not read yet.
    relay, _, files = slow(desk, one, rate=8e6, count=2, size=2_000_000)
    with relay:
        process = desk.start("--retries", "3", "--verify", "never", "--json")
        for _ in range(cuts):
            before = relay.connections()
            relay.cut_after(700_000)
            wait_until(lambda: relay.connections() > before + 1 or process.poll() is not None, "it comes back")
        result = finish(process)
        assert result.code == 0, result.err
        assert relay.counts()[1] <= wire_limit(files, 2 * cuts, relay)
    desk.has(files)


@pytest.mark.parametrize(
    "stop, transport", [(signal.SIGINT, "openssh"), (signal.SIGINT, "ssh2"), (signal.SIGTERM, "ssh2")]
)
def test_interrupted_by_the_user(desk, one, stop):
    relay, _, files = slow(desk, one, rate=4e6, count=2, size=1_500_000)
    with relay:
        process = desk.start()
        wait_until(lambda: desk.landed() > 400_000, "it has begun")
        process.send_signal(stop)
        result = finish(process)
        assert result.code == 130
        assert "interrupted" in result.said and "run the same command to go on" in result.said
        assert result.err.count("✗") == 1, "one word on it is enough"
        kept = desk.landed()
        assert kept > 400_000 and in_mid_file(desk)
        assert not children_of(process.pid)
        report = desk.fetches()
        assert sum(file["resumed_from"] for file in report["files"]) == kept
        assert report["bytes"] == size_of(files) - kept
    desk.has(files)
    assert report["verified"] == 2


def interrupted(desk: Desk) -> None:
    """Leaves a file in the middle."""
    process = desk.start("--jobs", "1", "--limit-rate", "1M")
    wait_until(lambda: desk.landed() > 300_000, "it has begun")
    process.kill()
    finish(process)
    assert in_mid_file(desk)


def test_a_part_of_another_version_is_not_continued(desk, one):
    tree = one.tree()
    files = fill(tree, count=1, size=1_000_000)
    desk.enrol(one, tree)
    interrupted(desk)
    name = next(iter(files))
    files[name] = put(tree, name, len(files[name]), seed=11, modified=OLD + 50)
    report = desk.fetches("--verify", "never")
    assert of_file(report, name)["resumed_from"] == 0 and report["bytes"] == len(files[name])
    desk.has(files)


def test_a_part_that_was_the_same_version_and_is_not_is_found_out_by_its_checksum(desk, one):
    """Rewritten on the cluster with its size and time: only the checksum tells."""
    tree = one.tree()
    files = fill(tree, count=1, size=1_000_000)
    desk.enrol(one, tree)
    interrupted(desk)
    name = next(iter(files))
    files[name] = put(tree, name, len(files[name]), seed=12, modified=OLD)
    report = desk.fetches()
    assert report["transferred"] == 1 and report["verified"] == 1
    desk.has(files)


@pytest.mark.parametrize("damage", ["longer", "no sidecar", "broken sidecar", "link", "folder"])
def test_parts_that_are_none(desk, one, damage, tmp_path):
    tree = one.tree()
    files = fill(tree, count=2, size=200_000)
    desk.enrol(one, tree)
    interrupted_part = desk.output / "cluster1_gpu0.pkl.part"
    desk.output.mkdir()
    if damage == "longer":
        desk.fetches()
        (desk.output / "cluster1_gpu0.pkl").rename(interrupted_part)
        with open(interrupted_part, "ab") as file:
            file.write(bytes(5))
    elif damage in ("no sidecar", "broken sidecar"):
        interrupted_part.write_bytes(bytes(1000))
        if damage == "broken sidecar":
            (desk.output / "cluster1_gpu0.pkl.part.json").write_text('{"host": ')
    elif damage == "link":
        (tmp_path / "victim").write_text("kept")
        interrupted_part.symlink_to(tmp_path / "victim")
    else:
        interrupted_part.mkdir()
    if damage in ("link", "folder"):
        report = desk.misses()
        assert (report["transferred"], report["failed"]) == (1, 1)
        assert "cluster1_gpu0.pkl.part" in of_file(report, "cluster1_gpu0.pkl")["error"]
        assert damage == "folder" or (tmp_path / "victim").read_text() == "kept"
        interrupted_part.unlink() if damage == "link" else interrupted_part.rmdir()
    assert of_file(desk.fetches(), "cluster1_gpu0.pkl")["resumed_from"] == 0
    desk.has(files)


def test_a_lost_connection_that_stays_lost(desk, one):
    """Given up after so many tries; what has landed is kept, and the next run goes on from there."""
    relay, _, files = slow(desk, one, rate=4e6, count=3, size=1_000_000)
    with relay:
        process = desk.start("--jobs", "1", "--retries", "1", "--json")
        wait_until(lambda: desk.landed() > 300_000, "it has begun")
        relay.refuse()
        relay.cut()
        result = finish(process)
        assert result.code == 1
        report = result.json()
        failed = [file for file in report["files"] if file["status"] == "failed"]
        assert len(failed) == 3 - report["transferred"] >= 2
        assert any("connection refused" in file["error"] for file in failed), failed
        assert all(file["hint"] for file in failed)
        kept = desk.landed()
        assert kept > 300_000
        relay.refuse(False)
        report = desk.fetches()
        assert report["bytes"] == size_of(files) - kept
        assert max(file["resumed_from"] for file in report["files"]) > 0 or report["skipped"]
    desk.has(files)


@both
def test_a_link_that_falls_silent(desk, one):
    relay, _, files = slow(desk, one, rate=4e6, count=1, size=1_000_000)
    with relay:
        process = desk.start("--jobs", "1", "--retries", "0", "--timeout", "1", "--json")
        wait_until(lambda: desk.landed() > 300_000, "it has begun")
        relay.stall()
        result = finish(process)
        relay.stall(False)
        assert result.code == 1
        error = result.json()["files"][0]["error"]
        assert "connection lost" in error and re.search("nothing heard|timed out|no answer", error), error
        assert "run the same command to go on" in result.json()["files"][0]["hint"]
        assert desk.fetches()["files"][0]["resumed_from"] > 0
    desk.has(files)


def test_nothing_but_the_lock_is_held_by_what_died(desk, one):
    """A process that died does not keep others out, whatever it left behind."""
    tree = one.tree()
    files = fill(tree, count=1, size=1_000_000)
    desk.enrol(one, tree)
    interrupted(desk)
    manifest = desk.output / "one.manifest.jsonl"
    with open(manifest, "ab") as file:
        file.write(b'{"file": "cluster1_gpu0.pkl", "ho')
    assert desk.fetches()["transferred"] == 1
    desk.has(files)
    assert desk.fetches()["skipped"] == 1
    assert os.access(manifest, os.W_OK)
