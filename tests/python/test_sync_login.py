"""Credentials and login: each fault is told with its remedy, and nobody ever sees a password."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from pathlib import Path

import pytest
from desk import Desk, both, fill, finish
from harness import BIN, clean_error
from ssh import Cluster, children_of, command_line, make_key, needs_root, wait_until

SECRET = "correct horse 'battery\" $taple ü"


def by_key(cluster: Cluster, key: Path | None = None, **fields) -> dict:
    return {"password": None, "identity_file": str(key or cluster.key), **fields}


def refused(desk: Desk, *args, **options) -> str:
    """Nothing was fetched; one error with its remedy. Returns what was said."""
    result = desk.sync(*args, **options)
    clean_error(result)
    assert not list(desk.output.glob("*.pkl*"))
    return result.said


def attempts(cluster: Cluster, since: int) -> int:
    """Connections that came to the server after its log had this length."""
    return cluster.log()[since:].count("Connection from 127.0.0.1")


# The file -------------------------------------------------------------------------------------------------------------


@both
def test_valid_credentials(desk, one, tree):
    desk.enrol(one, tree)
    assert desk.fetches()["transferred"] == 1


def test_missing_credentials(desk):
    desk.clusters = ["tensor01"]
    said = refused(desk)
    assert ".credentials/tensor01.credentials: there are no credentials for tensor01" in said
    assert '"address"' in said and "chmod 600" in said


@pytest.mark.parametrize(
    "text, line, column",
    [
        ('{"address": "a"\n "username": "SECRET"}', 2, 2),
        ('{"address": "a",\n\n   SECRET}', 3, 4),
        ('{"address": "a", "password": "SECRET"', 1, 37),
    ],
)
def test_invalid_json_is_told_with_line_and_column(desk, text, line, column):
    desk.write_credentials("one", text)
    said = refused(desk)
    assert f"one.credentials line {line} column {column}: broken JSON" in said
    assert "SECRET" not in said


@pytest.mark.parametrize("field", ["address", "username"])
def test_a_missing_field_is_named(desk, field):
    fields = {"address": "a", "username": "b", "password": SECRET}
    del fields[field]
    desk.write_credentials("one", json.dumps(fields))
    said = refused(desk)
    assert f"the field {field} is missing" in said and SECRET not in said


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"pasword": SECRET}, 'unknown field "pasword"'),
        ({"port": "22"}, "port must be a number"),
        ({"port": 0}, "port must be a whole number from 1 to 65535"),
        ({"password": ""}, "password is empty"),
        ({"password": [SECRET]}, "password must be a string"),
        ({"address": "-oProxyCommand=touch x"}, "address may not"),
        ({"username": "me -oProxyCommand=touch"}, "username may not hold blanks"),
        ({"address": "me@host"}, "address must be a host name"),
    ],
)
def test_fields_that_cannot_be_meant(desk, fields, message):
    desk.write_credentials("one", json.dumps({"address": "a", "username": "b", **fields}))
    said = refused(desk)
    assert message in said and SECRET not in said


@pytest.mark.parametrize("name", ["../one", "a/b", ".."])
def test_a_cluster_is_no_path(desk, name):
    assert "is no name of a cluster" in refused(desk, "--clusters", name)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_what_others_can_read_is_refused(desk, one, tree, mode):
    path = desk.enrol(one, tree)
    path.chmod(mode)
    said = refused(desk)
    assert f"others on this machine can read it (mode {mode:o})" in said
    assert "chmod 600 .credentials/one.credentials" in said
    report = desk.fetches("--insecure-credentials")
    assert report["transferred"] == 1
    path.chmod(0o400)
    assert desk.fetches()["skipped"] == 1


def test_another_folder_of_credentials(desk, one, tree):
    desk.enrol(one, tree)
    desk.credentials.rename(desk.folder / "secrets")
    assert desk.fetches("--credentials", "secrets")["transferred"] == 1


# Passwords ------------------------------------------------------------------------------------------------------------


@needs_root
@both
def test_a_wrong_password_is_told_once_and_never_tried_again(desk, one, tree):
    desk.enrol(one, tree, password=SECRET)
    before = len(one.log())
    said = refused(desk, "--retries", "5")
    assert f"login of {one.user.name} refused (tried: password" in said
    assert f"127.0.0.1:{one.port}" in said and SECRET not in said
    wait_until(lambda: "Connection closed" in one.log()[before:] or "Connection reset" in one.log()[before:], "the end")
    assert attempts(one, before) == 1
    assert one.log()[before:].count("Failed password") == 1


@needs_root
@both
def test_an_unknown_user(desk, one, tree):
    desk.enrol(one, tree, username="nobody-of-that-name")
    assert "login of nobody-of-that-name refused" in refused(desk)


@needs_root
@both
def test_the_password_where_the_key_is_refused(desk, one, tree, tmp_path):
    desk.enrol(one, tree, identity_file=str(make_key(tmp_path / "other")))
    assert desk.fetches()["transferred"] == 1


@needs_root
@both
def test_a_server_that_takes_no_passwords(desk, tree, keys_only):
    desk.enrol(keys_only, tree)
    said = refused(desk)
    assert "no way to log in" in said and "the server takes publickey" in said
    assert "identity_file" in said


@needs_root
@both
def test_key_and_password_where_the_server_wants_both(desk, one, tree):
    cluster = Cluster("strict", AuthenticationMethods="publickey,password")
    try:
        desk.enrol(cluster, tree, identity_file=str(cluster.key))
        assert desk.fetches()["transferred"] == 1
        desk.enrol(cluster, tree, identity_file=str(cluster.key), password=None, known=False)
        result = desk.sync("--clusters", "strict", "-o", "elsewhere")
        clean_error(result)
        assert "password" in result.said
    finally:
        cluster.remove()


@both
def test_nobody_sees_a_secret(desk, one, tmp_path):
    """Not in the arguments or the environment of any process, not on a terminal, not in a file."""
    tree = one.tree()
    fill(tree, count=2)
    key = make_key(tmp_path / "key", passphrase=SECRET)
    one.allow(one.key, key)
    desk.enrol(one, tree, identity_file=str(key), passphrase=SECRET)
    secrets = [SECRET.encode(), *([one.user.password.encode()] if one.user.password else [])]
    told: list[str] = []
    seen: set[str] = set()

    def look(pid: int) -> None:
        while process.poll() is None:
            for below in [pid, *children_of(pid)]:
                seen.add(Path(command_line(below)[0]).name if command_line(below) else "")
                for what in ("cmdline", "environ"):
                    try:
                        text = Path(f"/proc/{below}/{what}").read_bytes()
                    except OSError:
                        continue
                    told.extend(f"{what} of {below}" for secret in secrets if secret in text)

    process = desk.start("--limit-rate", "600k", "--json")
    watcher = threading.Thread(target=look, args=(process.pid,))
    watcher.start()
    result = finish(process)
    watcher.join()
    assert result.code == 0, result.err
    assert not told
    assert BIN.name in seen and ("ssh" in seen or desk.transport == "ssh2"), "somebody looked"
    desk.enrol(one, tree, identity_file=str(key), passphrase=SECRET[::-1], known=False)
    failed = desk.sync("--json", "-o", "elsewhere")
    said = result.out + result.err + failed.out + failed.err
    paths = [path for path in desk.folder.rglob("*") if path.is_file() and ".credentials" not in path.parts]
    files = [path.read_bytes() for path in paths]
    for secret in [*secrets, SECRET[::-1].encode()]:
        assert secret.decode() not in said and json.dumps(secret.decode())[1:-1] not in said
        assert not any(secret in data for data in files)
    one.allow(one.key)


# Keys -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys_only():
    cluster = Cluster("keys", PasswordAuthentication="no")
    yield cluster
    cluster.remove()


@pytest.fixture
def allowed(keys_only, tmp_path):
    """Makes keys that may log in."""

    def make(**how) -> Path:
        key = make_key(tmp_path / "a key", **how)
        keys_only.allow(key)
        return key

    return make


@pytest.fixture
def enrolled(desk, keys_only):
    tree = keys_only.folder / "common"
    if not tree.exists():
        tree.mkdir()
        fill(tree, count=1)

    def enrol(**fields):
        return desk.enrol(keys_only, tree, **{"password": None, "identity_file": None, **fields})

    return enrol


@pytest.mark.parametrize("kind, form", [("ed25519", None), ("ecdsa", None), ("rsa", None), ("rsa", "PEM")])
@both
def test_keys_of_every_type(desk, enrolled, allowed, kind, form):
    enrolled(identity_file=str(allowed(kind=kind, form=form)))
    assert desk.fetches()["transferred"] == 1


@both
def test_a_passphrase(desk, enrolled, allowed):
    key = str(allowed(passphrase=SECRET))
    enrolled(identity_file=key, passphrase=SECRET)
    assert desk.fetches()["transferred"] == 1
    for passphrase in ("wrong", None):
        enrolled(identity_file=key, passphrase=passphrase, known=False)
        result = desk.sync("-o", "elsewhere")
        clean_error(result)
        assert f"{key}: the private key cannot be used" in result.said and "passphrase" in result.said
        assert SECRET not in result.said


@both
def test_a_key_that_is_not_there_or_none(desk, enrolled, tmp_path):
    enrolled(identity_file=str(tmp_path / "nowhere"))
    said = refused(desk)
    assert f"{tmp_path}/nowhere" in said and "identity_file" in said
    (tmp_path / "garbage").write_text("not a key\n")
    (tmp_path / "garbage").chmod(0o600)
    enrolled(identity_file=str(tmp_path / "garbage"), known=False)
    said = refused(desk)
    assert f"{tmp_path}/garbage" in said and "identity_file" in said


@both
def test_a_key_that_the_server_does_not_know(desk, enrolled, tmp_path, keys_only):
    keys_only.allow(keys_only.key)
    enrolled(identity_file=str(make_key(tmp_path / "stranger")))
    said = refused(desk)
    assert "login of" in said and "refused" in said


@both
def test_a_key_named_in_the_home_folder(desk, enrolled, allowed):
    key = allowed()
    key.rename(desk.home / "id")
    enrolled(identity_file="~/id")
    assert desk.fetches()["transferred"] == 1


@both
def test_a_key_of_the_ssh_configuration(desk, enrolled, allowed):
    desk.ssh_config.write_text(f'Host 127.0.0.1\n  IdentityFile "{allowed()}"\n')
    enrolled()
    assert desk.fetches()["transferred"] == 1


@pytest.fixture
def agent(tmp_path):
    """A running agent: the environment that leads to it."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    wait_until(socket.exists, "the agent listens")
    yield {"SSH_AUTH_SOCK": str(socket)}
    process.kill()
    process.wait()


@both
def test_keys_of_the_agent(desk, enrolled, allowed, agent, tmp_path):
    others = [make_key(tmp_path / f"other{i}") for i in range(2)]
    key = allowed()
    for each in [*others, key]:
        subprocess.run(["ssh-add", "-q", str(each)], env={**os.environ, **agent}, check=True)
        each.unlink()
    enrolled()
    assert desk.fetches(env=desk.environment(**agent))["transferred"] == 1


@both
def test_neither_password_nor_key(desk, enrolled, agent):
    enrolled()
    said = refused(desk, env=desk.environment(**agent))
    assert re.search("no way to log in|login of .* refused", said)
    assert "ssh-add" in said or "identity_file" in said
