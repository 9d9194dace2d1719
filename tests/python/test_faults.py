"""The process dies at, or gets an error from, one chosen system call after another: strace does it.

Where random kills (test_resume.py) look for what nobody thought of, this walks through every step of making room,
writing, syncing and publishing, so that each single one has been the last.
"""

from __future__ import annotations

import itertools
import shutil
import signal
import subprocess

import numpy as np
import pytest
from harness import (
    BIN,
    Result,
    articles,
    clean_error,
    contents,
    dump,
    environment,
    matrix,
    same_bits,
    succeeds,
    write_job,
)

NEW, OLD = matrix(2000, 64), matrix(500, 64, seed=3)


def strace_works() -> bool:
    if not shutil.which("strace"):
        return False
    return subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not strace_works(), reason="platform: no strace, or it may not trace here")


def inject(call: str, what: str, *args, cwd, paths=(), log="/dev/null") -> Result:
    """Run with a fault in ``call``, on ``paths`` alone where any are given; ``what`` is strace's own words for it."""
    command = ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:{what}"]
    command += [word for path in paths for word in ("-P", str(path))]
    done = subprocess.run(
        [*command, str(BIN), *map(str, args)], cwd=cwd, env=environment(), capture_output=True, timeout=60
    )
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    home = tmp_path_factory.mktemp("sources")
    write_job(home / "new", NEW)
    write_job(home / "old", OLD)
    dump(home / "new.pkl", articles(len(NEW)))
    dump(home / "old.pkl", articles(len(OLD)))
    return home


class Scene:
    """An old store in ``out``, and the command that replaces it."""

    def __init__(self, sources, home, name: str) -> None:
        self.sources, self.out, self.name = sources, home / "out", name
        self.replace = ["merge", sources / "new", "-o", self.out / name, "--articles", sources / "new.pkl", "--force"]
        self.set()
        self.old = contents(self.out)
        succeeds(*self.replace)
        self.new = contents(self.out)

    def set(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir()
        old = ["merge", self.sources / "old", "-o", self.out / self.name, "--articles", self.sources / "old.pkl"]
        succeeds(*old, "--no-sync", "--quiet")

    def partial(self):
        return self.out / f"{self.name}.partial"

    def published(self) -> dict:
        """What stands in the folder, the partial apart."""
        return {name: digest for name, digest in contents(self.out).items() if ".partial" not in name}

    def truthful(self, home) -> None:
        """Without its partial, as if copied elsewhere: the store verifies, or has no metadata to lie with."""
        copy = home / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.out, copy, ignore=shutil.ignore_patterns("*.partial"))
        store = copy / self.name
        if store.with_suffix(".meta.json").exists() or (store.suffix == ".pkl" and store.exists()):
            succeeds("verify", store)
        elif store.exists():
            rows = np.load(store)
            assert same_bits(rows, OLD) or same_bits(rows, NEW)


CALLS = ["mkdir", "flock", "fallocate", "ftruncate", "write", "pwrite64", "fdatasync", "fsync", "rename"]
# Names differ between architectures.
CALLS.append("/^(unlink|rmdir)")


@pytest.mark.parametrize("name", ["s.npy", "s.pkl"])
@pytest.mark.parametrize("call", CALLS)
def test_killed_at_every_call(sources, tmp_path, call, name):
    """Killed right after the first, the second, the last such call: nothing lies, and the same command ends it."""
    scene = Scene(sources, tmp_path, name)
    for when in itertools.count(1):
        scene.set()
        result = inject(call, f"signal=SIGKILL:when={when}", *scene.replace, cwd=tmp_path)
        if result.code == 0:
            break
        assert result.code == -signal.SIGKILL, result.err
        scene.truthful(tmp_path)
        succeeds(*scene.replace)
        assert contents(scene.out) == scene.new, f"{call} number {when}"
    assert when > 1 or call in ("ftruncate", "pwrite64"), f"{call} was never called"


@pytest.mark.parametrize("name", ["s.npy", "s.pkl"])
@pytest.mark.parametrize(
    "call, error",
    [
        ("mkdir", "EACCES"),
        ("fallocate", "ENOSPC"),
        ("fallocate", "EIO"),
        ("pwrite64", "ENOSPC"),
        ("pwrite64", "EIO"),
        ("pread64", "EIO"),
        ("fdatasync", "EIO"),
        ("fsync", "EIO"),
        ("fsync", "ENOSPC"),
        ("rename", "EIO"),
    ],
)
def test_an_error_from_every_call(sources, tmp_path, call, error, name):
    """One clean error each, a target that does not lie, and a partial from which the same command goes on."""
    scene = Scene(sources, tmp_path, name)
    for when in itertools.count(1):
        scene.set()
        result = inject(call, f"error={error}:when={when}", *scene.replace, cwd=tmp_path)
        if result.code == 0:
            break
        if "shared libraries" in result.err:
            continue  # that call was the system's loader, before the program began
        clean_error(result)
        scene.truthful(tmp_path)
        succeeds(*scene.replace)
        assert contents(scene.out) == scene.new, f"{call} number {when}"


@pytest.mark.parametrize("name", ["s.npy", "s.pkl"])
@pytest.mark.parametrize("error", ["EOPNOTSUPP", "ENOSYS"])
def test_a_file_system_that_cannot_allocate(sources, tmp_path, name, error):
    """Some network and stacked file systems have no fallocate: positioned writes do without."""
    scene = Scene(sources, tmp_path, name)
    scene.set()
    result = inject("fallocate", f"error={error}", *scene.replace, cwd=tmp_path)
    assert result.code == 0, result.err
    assert contents(scene.out) == scene.new


def test_a_kernel_without_early_write_back(sources, tmp_path):
    scene = Scene(sources, tmp_path, "s.npy")
    scene.set()
    result = inject("sync_file_range", "error=ENOSYS", *scene.replace, cwd=tmp_path)
    assert result.code == 0, result.err
    assert contents(scene.out) == scene.new


@pytest.mark.parametrize("call", ["pread64", "pwrite64", "read"])
def test_interrupted_calls_are_made_again(sources, tmp_path, call):
    scene = Scene(sources, tmp_path, "s.npy")
    scene.set()
    # On our own files: the loader of shared libraries gives up where it is interrupted.
    staged = [scene.out / "s.npy.partial" / name for name in ("s.npy", "s.articles.parquet", "journal")]
    paths = [*(sources / "new").iterdir(), sources / "new.pkl", *staged]
    result = inject(call, "error=EINTR:when=1+3", *scene.replace, cwd=tmp_path, paths=paths, log=tmp_path / "log")
    assert result.code == 0, result.err
    assert "INJECTED" in (tmp_path / "log").read_text()
    assert contents(scene.out) == scene.new


@pytest.mark.parametrize("call", ["fsync", "fdatasync", "fallocate", "rename", "pwrite64"])
def test_an_export_killed_at_every_call(sources, tmp_path, call):
    succeeds("merge", sources / "new", "-o", tmp_path / "s.npy", "--articles", sources / "new.pkl")
    export = ["export", tmp_path / "s.npy", "--format", "pickle", "-o", tmp_path / "m.pkl", "--force"]
    succeeds(*export)
    reference = contents(tmp_path)
    for when in itertools.count(1):
        (tmp_path / "m.pkl").unlink()
        result = inject(call, f"signal=SIGKILL:when={when}", *export, cwd=tmp_path)
        if result.code == 0:
            break
        assert not (tmp_path / "m.pkl").exists() or (tmp_path / "m.pkl").stat().st_size > 0
        succeeds(*export)
        assert contents(tmp_path) == reference, f"{call} number {when}"
