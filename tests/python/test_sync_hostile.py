"""Servers that lie, break the protocol or fall silent: a fake SFTP server behind a real sshd.

Whatever it does, there is one clear message with a remedy, other files and clusters arrive, and nothing is written
outside the download folder.
"""

from __future__ import annotations

import re
import signal

import fake_sftp
import pytest
from desk import Desk, both, fill, finish, of_file
from fake_sftp import BAD, GOOD, LAST, SIZE, content
from ssh import Cluster, wait_until

FILES = {name.decode(): content(name) for name in (GOOD, BAD, LAST)}
OTHERS = {name: data for name, data in FILES.items() if name != BAD.decode()}
# What is tested below on its own.
APART = {"OfSize", "Names", "OwnNames", "Kinds", "Dies", "TouchedOnce", "SilentAtOnce", "SilentInside", "Empty"}
# Allowed by the protocol: all arrives.
LAWFUL = ["Honest", "Twice", "BareListing", "ShortReads", "OutOfOrder"]
# About one file: what is said of it.
OF_ONE_FILE = {
    "Link": "is a link",
    "Size63": "claims a size that no disk could hold",
    "Size60": "claims a size that this disk could not hold",
    "SizeAll": "claims a size that no disk could hold",
    "Shrinks": "changed while it was read",
    "Grows": "changed while it was read",
    "Endless": "changed while it was read",
    "Touched": "changed while it was read",
    "Denied": "permission denied",
    "Vanished": "no such file",
    "Rude": "disk trouble",
    "DiesAlways": "connection lost|hung up|no reason",
}
# About every file, or the whole server.
OF_ALL = {
    "WrongIds": "an answer to what was not asked",
    "Repeats": "an answer to what was not asked",
    "Overlong": "not as many bytes as asked for",
    "NoBytes": "not as many bytes as asked for",
    "HugePacket": "a packet is longer than any of SFTP",
    "HugeString": "a packet is too short",
    "HugeCount": "a packet is too short",
    "EndlessListing": "the listing does not end",
    "Garbage": "no SFTP",
    "NotAVersion": "no SFTP",
}


@pytest.fixture(scope="module")
def server():
    """The fake server; each test says what it does."""
    cluster = Cluster("fake", fake="Honest")
    yield cluster
    cluster.remove()


@pytest.fixture(scope="module")
def honest():
    """Another cluster, and what is on it."""
    cluster = Cluster("honest")
    tree = cluster.tree()
    yield cluster, tree, fill(tree, cluster=2)
    cluster.remove()


@pytest.fixture
def desk(transport, tmp_path, server):
    made = Desk(tmp_path / "desk", transport)
    made.enrol(server, server.folder, password=None, identity_file=str(server.key))
    yield made
    written = {path.name for path in (tmp_path / "desk").iterdir()}
    assert written <= {"embeddings", ".credentials", "known_hosts", "ssh_config", "home"}
    assert [path.name for path in tmp_path.iterdir()] == ["desk"]
    assert not list(made.home.iterdir())
    for path in made.output.rglob("*"):
        assert path.is_file() and not path.is_symlink(), f"{path} was made"
        assert re.fullmatch(r"(cluster\d_gpu\d\.pkl(\.part(\.json)?)?)|\w+\.manifest\.jsonl", path.name), path


def misses(desk: Desk, *args) -> dict:
    """What is missing, told once, in words that do nothing to a terminal and have a remedy."""
    report = desk.misses("--verify", "never", "--retries", "0", *args)
    assert printable(report["said"]), report["said"]
    for file in report["files"]:
        assert (file["error"] is None) == (file["status"] != "failed")
        if file["error"]:
            assert file["hint"] and printable(file["error"] + file["hint"]), file
            assert len(file["error"]) < 1000, "an error is no place for a server's novel"
    return report


def printable(text: str) -> bool:
    return all(c.isprintable() or c == "\n" for c in text)


def test_every_behaviour_is_tested():
    assert {*LAWFUL, *OF_ONE_FILE, *OF_ALL, *APART} == set(fake_sftp.behaviours())


@both
@pytest.mark.parametrize("behaviour", LAWFUL)
def test_what_the_protocol_allows_is_no_fault(desk, server, behaviour):
    server.behave(behaviour)
    report = desk.fetches("--verify", "never")
    assert report["transferred"] == 3 and report["bytes"] == 3 * SIZE
    desk.has(FILES)
    assert desk.fetches("--verify", "never")["skipped"] == 3


@pytest.mark.parametrize(
    "behaviour, transport",
    [(name, "ssh2") for name in OF_ONE_FILE] + [("Shrinks", "openssh"), ("DiesAlways", "openssh")],
)
def test_one_bad_file_does_not_stop_the_others(desk, server, behaviour):
    server.behave(behaviour)
    report = misses(desk)
    assert report["failed"] == 1 and report["transferred"] == 2
    bad = of_file(report, BAD.decode())
    assert re.search(OF_ONE_FILE[behaviour], bad["error"]), bad
    assert len([line for line in report["said"].splitlines() if line.startswith("✗")]) == 1
    for name, data in OTHERS.items():
        assert (desk.output / name).read_bytes() == data
    assert not (desk.output / BAD.decode()).exists()
    assert BAD.decode() not in desk.manifest("fake")


@pytest.mark.parametrize(
    "behaviour, transport",
    [(name, "ssh2") for name in OF_ALL] + [("HugePacket", "openssh"), ("Garbage", "openssh")],
)
def test_a_bad_server_does_not_stop_the_other_cluster(desk, server, honest, behaviour):
    cluster, tree, files = honest
    desk.enrol(cluster, tree)
    server.behave(behaviour)
    report = misses(desk)
    assert report["transferred"] == len(files)
    bad = [file for file in report["files"] if file["cluster"] == "fake"]
    assert bad and all(re.search(OF_ALL[behaviour], file["error"]) for file in bad), bad
    for name, data in files.items():
        assert (desk.output / name).read_bytes() == data
    assert not [path for path in desk.output.glob("*.pkl") if path.name not in files]


@both
def test_names_that_lead_elsewhere_are_refused(desk, server):
    server.behave("Names")
    report = misses(desk)
    assert report["transferred"] == 3
    refused = [file for file in report["files"] if file["status"] == "failed"]
    assert len(refused) == 10 and all("is no plain file name" in file["error"] for file in refused)
    shown = " ".join(file["file"] for file in refused)
    for part in ("/../", "cluster1\\\\_", "\\n", "\\u{1b}", "\\u{202e}"):
        assert part in shown, f"{part!r} is not among {shown}"
    report = misses(desk, "--pattern", "*cluster*")
    assert report["skipped"] == 3 and report["failed"] == 13
    for name, data in FILES.items():
        assert (desk.output / name).read_bytes() == data
    assert desk.fetches("--verify", "never", "--pattern", "cluster1_gpu[0-2].pkl")["skipped"] == 3


def test_names_that_sync_uses_itself_are_refused(desk, server):
    server.behave("OwnNames")
    report = misses(desk, "--pattern", "*.*")
    refused = {file["file"] for file in report["files"] if file["status"] == "failed"}
    own = {f"{BAD.decode()}.part", f"{BAD.decode()}.part.json", "fake.manifest.jsonl", "other.manifest.jsonl"}
    assert own <= refused and report["transferred"] == 3
    desk.has(FILES)
    assert set(desk.manifest("fake")) == set(FILES)


def test_only_regular_files_are_taken(desk, server):
    server.behave("Kinds")
    report = misses(desk)
    assert report["transferred"] == 3
    said = {file["file"]: file["error"] for file in report["files"] if file["status"] == "failed"}
    assert "is a folder" in said["cluster1_gpu3.pkl"]
    assert "is a link" in said["cluster1_gpu4.pkl"]
    assert "is no regular file" in said["cluster1_gpu5.pkl"]
    assert "is no regular file" in said["cluster1_gpu6.pkl"]


def test_an_empty_file_is_a_file(desk, server):
    server.behave("Empty")
    report = desk.fetches("--verify", "never")
    assert report["transferred"] == 3
    desk.has({**OTHERS, BAD.decode(): b""})


def test_a_file_that_became_another_is_fetched_again(desk, server):
    server.behave("TouchedOnce")
    report = desk.fetches("--verify", "never")
    assert report["bytes"] == 4 * SIZE, "one of them twice"
    desk.has(FILES)
    assert (desk.output / BAD.decode()).stat().st_mtime == fake_sftp.MODIFIED + 77


def test_a_server_that_ends_again_and_again_is_read_to_the_end(desk, server):
    """Each connection gives a packet; all of them count, and none is fetched twice."""
    server.behave("Dies")
    report = desk.fetches("--verify", "never", "--retries", "1")
    assert report["transferred"] == 3 and report["bytes"] == 3 * SIZE
    desk.has(FILES)


@pytest.mark.parametrize(
    "behaviour, transport", [("SilentAtOnce", "ssh2"), ("SilentInside", "ssh2"), ("SilentInside", "openssh")]
)
def test_a_silent_server_is_given_up(desk, server, honest, behaviour):
    """The system's ssh is left half a minute for its first answer, should it need a person: too long for a test."""
    cluster, tree, files = honest
    desk.enrol(cluster, tree)
    server.behave(behaviour)
    report = misses(desk, "--timeout", "1")
    assert report["transferred"] == len(files) + (2 if behaviour == "SilentInside" else 0)
    bad = [file for file in report["files"] if file["status"] == "failed"]
    said = "no answer within 1 s" if behaviour == "SilentAtOnce" else "nothing heard|timed out"
    assert len(bad) == 1 and re.search(said, bad[0]["error"]), bad


@both
def test_a_silent_server_can_be_interrupted(desk, server):
    server.behave("SilentInside")
    process = desk.start("--verify", "never", "--timeout", "60", "--jobs", "3")
    wait_until(lambda: desk.landed() > 2 * SIZE, "the honest files have landed")
    process.send_signal(signal.SIGINT)
    result = finish(process, timeout=20)
    assert result.code == 130
    assert "interrupted" in result.said and "run the same command" in result.said
