"""A user's side of sync: a folder with credentials, known hosts and a home, where embstore runs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from harness import BIN, Result, environment, run
from ssh import Cluster

TRANSPORTS = ("openssh", "ssh2")
both = pytest.mark.parametrize("transport", TRANSPORTS)
OLD = 1_600_000_000


def put(tree: Path, name: str, size: int = 300_000, seed: int = 0, modified: int = OLD) -> bytes:
    """A file on a cluster; returns its bytes."""
    data = np.random.default_rng(seed).bytes(size)
    path = tree / name
    path.write_bytes(data)
    path.chmod(0o644)
    os.utime(path, (modified, modified))
    return data


def fill(tree: Path, cluster: int = 1, count: int = 2, size: int = 300_000) -> dict[str, bytes]:
    """``count`` files on a cluster, of uneven sizes, as its workers name them."""
    files = {}
    for gpu in range(count):
        name = f"cluster{cluster}_gpu{gpu}.pkl"
        files[name] = put(tree, name, size + 1001 * gpu, seed=97 * cluster + gpu, modified=OLD + gpu)
    return files


class Desk:
    """Where a user calls ``embstore sync``."""

    def __init__(self, folder: Path, transport: str = "auto") -> None:
        self.folder = folder
        self.transport = transport
        self.output = folder / "embeddings"
        self.credentials = folder / ".credentials"
        self.known_hosts = folder / "known_hosts"
        self.ssh_config = folder / "ssh_config"
        self.home = folder / "home"
        self.credentials.mkdir(parents=True)
        self.home.mkdir()
        self.known_hosts.touch()
        self.ssh_config.touch()
        self.clusters: list[str] = []

    def enrol(self, cluster: Cluster, tree: Path | None, name: str | None = None, known: bool = True, **fields) -> Path:
        """Credentials for a cluster, and its host key. Returns the credentials file."""
        name = name or cluster.name
        made = cluster.credentials(tree, **fields)
        path = self.write_credentials(name, json.dumps(made))
        if known:
            with open(self.known_hosts, "a") as file:
                file.write(cluster.known_hosts(made["address"], made.get("port", 22)))
        return path

    def write_credentials(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.credentials / f"{name}.credentials"
        path.write_text(text)
        path.chmod(mode)
        if name not in self.clusters:
            self.clusters.append(name)
        return path

    def arguments(self, *args, verb: str = "sync") -> list[str]:
        given = [str(arg) for arg in args]
        made = [verb, *given]
        defaults = {
            "--clusters": self.clusters,
            "--known-hosts": [str(self.known_hosts)],
            "--ssh-config": [str(self.ssh_config)],
            "--transport": [self.transport],
            "--jobs": ["2"],
            "--timeout": ["10"],
            "--retries": ["1"],
        }
        for flag, values in defaults.items():
            if flag not in given and values:
                made += [flag, *values]
        return made

    def environment(self, **extra: str) -> dict[str, str]:
        made = environment(HOME=str(self.home), **extra)
        if "SSH_AUTH_SOCK" not in extra:
            made.pop("SSH_AUTH_SOCK", None)
        return made

    def sync(self, *args, env: dict | None = None, verb: str = "sync", **options) -> Result:
        """Runs it, whatever comes of it."""
        env = self.environment() if env is None else env
        return run(*self.arguments(*args, verb=verb), cwd=self.folder, env=env, **options)

    def fetches(self, *args, **options) -> dict:
        """Runs it with ``--json``; all must be there then."""
        result = self.sync(*args, "--json", **options)
        assert result.code == 0, f"exit {result.code}\n{result.out}\n{result.err}"
        return result.json()

    def misses(self, *args, **options) -> dict:
        """Runs it with ``--json``; something must be missing then."""
        result = self.sync(*args, "--json", **options)
        assert result.code == 1, f"exit {result.code}\n{result.out}\n{result.err}"
        for word in ("panicked", "RUST_BACKTRACE", "Os {", "Some(", "Err("):
            assert word not in result.err + result.out, result.err
        return {**result.json(), "said": result.err}

    def start(self, *args, verb: str = "sync", env: dict | None = None) -> subprocess.Popen:
        """Starts it and does not wait."""
        return subprocess.Popen(
            [str(BIN), *self.arguments(*args, verb=verb)],
            cwd=self.folder,
            env=self.environment() if env is None else env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    # What has come of it ----------------------------------------------------------------------------------------------

    def landed(self) -> int:
        """Bytes in all parts and finished checkpoints."""
        files = list(self.output.glob("*.pkl")) + list(self.output.glob("*.pkl.part"))
        total = 0
        for path in files:
            try:
                total += path.stat().st_size
            except FileNotFoundError:
                pass
        return total

    def has(self, *files: dict[str, bytes]) -> None:
        """Exactly these files are in the download folder, and nothing of a transfer is left beside them."""
        expected = {name: data for some in files for name, data in some.items()}
        found = {path.name: path for path in self.output.iterdir() if not path.name.endswith(".manifest.jsonl")}
        assert sorted(found) == sorted(expected)
        for name, data in expected.items():
            assert found[name].read_bytes() == data, f"{name} differs"

    def manifest(self, cluster: str) -> dict[str, dict]:
        """The last line about each file."""
        lines = (self.output / f"{cluster}.manifest.jsonl").read_text().splitlines()
        return {entry["file"]: entry for entry in map(json.loads, lines)}


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def finish(process: subprocess.Popen, timeout: float = 60) -> Result:
    """Waits for what ``start`` has started."""
    out, err = process.communicate(timeout=timeout)
    return Result(process.returncode, out.decode(), err.decode())


def of_file(report: dict, name: str) -> dict:
    """What became of one file."""
    found = [file for file in report["files"] if file["file"] == name]
    assert len(found) == 1, report
    return found[0]
