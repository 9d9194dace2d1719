"""Whom sync talks to: host keys against known_hosts, and what ~/.ssh/config says of the way there."""

from __future__ import annotations

import re
import subprocess

import pytest
from desk import Desk, both, fill, finish
from harness import clean_error
from relay import Relay
from ssh import Cluster, fingerprint, make_key, needs_root, wait_until


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """Host keys that no server here has."""
    folder = tmp_path_factory.mktemp("stranger")
    return {kind: make_key(folder / kind, kind) for kind in ("ed25519", "ecdsa")}


def refused(desk: Desk, *args) -> str:
    """Nothing was fetched or recorded; one error with its remedy. Returns what was said."""
    before = desk.known_hosts.read_bytes()
    result = desk.sync(*args)
    clean_error(result)
    assert not list(desk.output.glob("*.pkl*"))
    assert desk.known_hosts.read_bytes() == before
    return result.said


def shown(cluster: Cluster) -> str:
    return fingerprint(cluster.host_keys[0].with_suffix(".pub"))


@both
def test_an_unknown_host_is_refused_and_shown(desk, one, tree):
    desk.enrol(one, tree, known=False)
    said = refused(desk)
    assert "unknown host" in said and shown(one) in said and "ed25519" in said
    assert str(desk.known_hosts) in said and "--accept-new" in said


@both
def test_a_new_host_is_recorded_where_that_is_asked_for(desk, one, tree):
    desk.enrol(one, tree, known=False)
    desk.known_hosts.unlink()
    assert desk.fetches("--accept-new")["transferred"] == 1
    found = subprocess.run(
        ["ssh-keygen", "-F", f"[127.0.0.1]:{one.port}", "-f", str(desk.known_hosts)], capture_output=True, text=True
    )
    assert one.host_keys[0].with_suffix(".pub").read_text().split()[1] in found.stdout
    lines = desk.known_hosts.read_text()
    assert lines.count("\n") == len(lines.splitlines()) == 1
    assert desk.fetches()["skipped"] == 1, "known from now on"
    assert desk.fetches("--accept-new")["skipped"] == 1
    assert desk.known_hosts.read_text() == lines, "recorded once"


@both
def test_a_changed_key_is_a_hard_stop(desk, one, tree, stranger):
    """Also where new hosts are accepted; it names both fingerprints, and nobody knocks a second time."""
    with Relay(one.port) as relay:
        desk.enrol(one, tree, known=False, port=relay.port)
        before = "# a line\n" + one.known_hosts(port=relay.port, keys=[stranger["ed25519"]])
        desk.known_hosts.write_text(before)
        for flags in ((), ("--accept-new",)):
            said = refused(desk, "--retries", "5", *flags)
            assert "the host key has changed" in said
            assert shown(one) in said and fingerprint(f"{stranger['ed25519']}.pub") in said
            assert f"{desk.known_hosts} line 2" in said
        assert relay.connections() == 2, "one for each run"


@both
def test_a_key_that_changes_while_files_are_fetched(desk, tree):
    """The second login of the same run meets another machine."""
    cluster = Cluster("changing")
    try:
        mine = cluster.tree()
        fill(mine, count=1, size=2_000_000)
        desk.enrol(cluster, mine)
        process = desk.start("--limit-rate", "1M", "--retries", "5", "--json")
        wait_until(lambda: desk.landed() > 200_000, "it has begun")
        cluster.stop()
        for path in (cluster.host_keys[0], cluster.host_keys[0].with_suffix(".pub")):
            path.unlink()
        make_key(cluster.host_keys[0])
        cluster.start()
        result = finish(process)
        assert result.code == 1 and "the host key has changed" in result.said
        assert not list(desk.output.glob("*.pkl"))
    finally:
        cluster.remove()


@pytest.mark.parametrize("name", ["itself", "*"])
@both
def test_a_revoked_key_is_refused(desk, one, tree, name):
    """Even where it is on record as good."""
    desk.enrol(one, tree)
    line = one.known_hosts(marker="@revoked")
    with open(desk.known_hosts, "a") as file:
        file.write(line if name == "itself" else line.replace(f"[127.0.0.1]:{one.port}", name))
    for flags in ((), ("--accept-new",)):
        said = refused(desk, *flags)
        assert "revoked" in said and shown(one) in said and "line 2" in said


@both
def test_hashed_names(desk, one, tree, stranger):
    desk.enrol(one, tree)
    plain = desk.known_hosts.read_text()
    hash_it = ["ssh-keygen", "-q", "-H", "-f", str(desk.known_hosts)]
    subprocess.run(hash_it, check=True, capture_output=True)
    assert "127.0.0.1" not in desk.known_hosts.read_text()
    assert desk.fetches()["transferred"] == 1
    desk.known_hosts.write_text(plain.replace(f":{one.port}", f":{one.port + 1}"))
    subprocess.run(hash_it, check=True, capture_output=True)
    assert "unknown host" in desk.sync("-o", "elsewhere").said
    desk.known_hosts.write_text(one.known_hosts(keys=[stranger["ed25519"]]))
    subprocess.run(hash_it, check=True, capture_output=True)
    assert "the host key has changed" in desk.sync("-o", "elsewhere").said


@both
def test_ports_tell_hosts_apart(desk, one, tree, stranger):
    """What is on record for another port neither vouches nor accuses; what is without a port vouches for all."""
    desk.enrol(one, tree, known=False)
    desk.known_hosts.write_text(one.known_hosts(port=one.port % 65535 + 1, keys=[stranger["ed25519"]]))
    assert "unknown host" in refused(desk)
    desk.known_hosts.write_text(one.known_hosts(port=22))
    assert desk.fetches()["transferred"] == 1


@both
def test_the_key_type_on_record_is_asked_for(desk, tree):
    """A server with several keys shows the one that is known, whichever it would rather show."""
    cluster = Cluster("many", keys=("ed25519", "ecdsa", "rsa"))
    try:
        desk.enrol(cluster, tree, known=False)
        for number, key in enumerate(cluster.host_keys):
            desk.known_hosts.write_text(cluster.known_hosts(keys=[key]))
            assert desk.fetches("-o", f"out{number}")["transferred"] == 1, key.name
    finally:
        cluster.remove()


@both
def test_a_key_of_another_type_on_record_does_not_let_the_shown_one_in(desk, one, tree, stranger):
    """The server has no key of the type on record: whatever it is called, it is refused."""
    desk.enrol(one, tree, known=False)
    desk.known_hosts.write_text(one.known_hosts(keys=[stranger["ecdsa"]]))
    for flags in ((), ("--accept-new",)):
        said = refused(desk, *flags)
        assert re.search("host key has changed|unknown host", said) and shown(one) in said


@both
def test_lines_that_nobody_understands_are_passed_over(desk, one, tree):
    desk.enrol(one, tree)
    good = desk.known_hosts.read_text()
    noise = b"# comment\n\n|1|broken\n[127.0.0.1]:1 ssh-future AAAA\nnonsense\n\xff\xfe\n"
    noise += b"@cert-authority *.example.com ssh-ed25519 AAAA\n"
    desk.known_hosts.write_bytes(noise + good.encode())
    assert desk.fetches()["transferred"] == 1


# The way there --------------------------------------------------------------------------------------------------------


@both
def test_a_name_of_the_ssh_configuration(desk, one, tree):
    """HostName and Port come from there; the user is that of the credentials."""
    desk.ssh_config.write_text(f"Host gpu-farm\n  HostName 127.0.0.1\n  Port {one.port}\n  User somebody\n")
    desk.enrol(one, tree, address="gpu-farm", known=False)
    path = desk.credentials / "one.credentials"
    path.write_text(re.sub(r'"port": \d+, ', "", path.read_text()))
    desk.known_hosts.write_text(one.known_hosts())
    assert desk.fetches()["transferred"] == 1
    assert "127.0.0.1" in desk.manifest("one")["cluster1_gpu0.pkl"]["host"]


@both
def test_an_alias_of_the_host_key(desk, one, tree):
    desk.ssh_config.write_text("Host 127.0.0.1\n  HostKeyAlias the-farm\n")
    desk.enrol(one, tree, known=False)
    desk.known_hosts.write_text(one.known_hosts(address="the-farm", port=22))
    assert desk.fetches()["transferred"] == 1


@pytest.mark.parametrize("transport", ["openssh", "ssh2", "auto"])
def test_a_jump_host(desk, one, tree, transport):
    """Through a machine in between, which libssh2 cannot do and says so."""
    gate = Cluster("gate")
    try:
        desk.enrol(one, tree, password=None, identity_file=str(one.key))
        with open(desk.known_hosts, "a") as file:
            file.write(gate.known_hosts())
        desk.ssh_config.write_text(
            f"Host 127.0.0.1\n  ProxyJump gate\n"
            f"Host gate\n  HostName localhost\n  Port {gate.port}\n  User {gate.user.name}\n  HostKeyAlias gate\n"
            f"  IdentityFile {gate.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {desk.known_hosts}\n"
        )
        with open(desk.known_hosts, "a") as file:
            file.write(gate.known_hosts(address="gate", port=22))
        if transport == "ssh2":
            said = refused(desk)
            assert "leads through another machine" in said and "--transport openssh" in said
        else:
            assert desk.fetches()["transferred"] == 1
            assert "Accepted publickey" in gate.log()
    finally:
        gate.remove()


def test_a_broken_ssh_configuration(desk, one, tree):
    desk.ssh_config.write_text("Host *\n  Nonsense yes\n")
    desk.enrol(one, tree)
    said = refused(desk)
    assert "line 2" in said and "ssh -G" in said


@needs_root
@both
def test_the_login_is_not_tried_where_the_host_is_not_known(desk, one, tree):
    """No password goes to a machine that may be somebody else's."""
    desk.enrol(one, tree, known=False)
    before = len(one.log())
    refused(desk)
    assert "password" not in one.log()[before:]
