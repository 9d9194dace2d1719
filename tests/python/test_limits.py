"""Little memory and full disks: a merge stays within the first and says so of the second.

Every limit has its negative control, so that a limit that does not bite cannot make a test pass.
"""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from harness import (
    BIN,
    articles,
    checkpoint,
    clean_error,
    contents,
    cut,
    dump,
    environment,
    matrix,
    run,
    same_bits,
    succeeds,
    write_job,
)
from measure import MIB, Unsupported, data_limit, drop_from_cache, hog, memory_group

LIMIT = 64 * MIB


def supported(make, *args):
    try:
        return make(*args)
    except Unsupported as why:
        pytest.skip(f"platform: {why}")


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """200 MB of rows with articles: three times the limit, so nothing that holds a copy can pass."""
    folder = tmp_path_factory.mktemp("wide")
    write_job(folder / "in", matrix(65_000, 768), parts=4)
    dump(folder / "wikipedia.pkl", [{**item, "text": "t" * 2000} for item in articles(65_000)])
    return folder


@pytest.mark.parametrize("threads", ["1", "2", "8"])
@pytest.mark.parametrize("name", ["s.npy", "s.pkl"])
def test_a_merge_within_64_mib_of_private_memory(wide, tmp_path, name, threads):
    limit = supported(data_limit, LIMIT)
    flags = ["--articles", wide / "wikipedia.pkl", "--threads", threads, "--no-sync"]
    succeeds("merge", wide / "in", "-o", tmp_path / name, *flags, preexec_fn=limit)


def test_the_limit_bites(tmp_path):
    limit = supported(data_limit, LIMIT)
    done = subprocess.run(hog(768 * MIB), preexec_fn=limit, capture_output=True)
    assert done.returncode != 0 and b"MemoryError" in done.stderr
    assert subprocess.run(hog(8 * MIB), preexec_fn=limit).returncode == 0


def test_the_other_verbs_within_the_same_limit(wide, tmp_path):
    limit = supported(data_limit, LIMIT)
    flags = ["--articles", wide / "wikipedia.pkl", "--no-sync"]
    succeeds("merge", wide / "in", "-o", tmp_path / "s.npy", *flags)
    succeeds(
        "export", tmp_path / "s.npy", "--format", "pickle", "-o", tmp_path / "m.pkl", "--no-sync", preexec_fn=limit
    )
    succeeds("verify", tmp_path / "s.npy", "--checkpoints", wide / "in", preexec_fn=limit)
    succeeds("verify", tmp_path / "m.pkl", preexec_fn=limit)
    succeeds("info", tmp_path / "m.pkl", preexec_fn=limit)


@pytest.mark.parametrize("what", ["fortran", "float64", "protocol 0", "protocol 2"])
def test_payloads_that_are_not_raw_rows_stay_bounded_too(tmp_path, what):
    limit = supported(data_limit, LIMIT)
    rows = matrix(60_000, 384)
    kinds = {"fortran": np.asfortranarray, "float64": lambda piece: piece.astype(np.float64)}
    protocol = int(what[-1]) if what.startswith("protocol") else 4
    for i, (start, piece) in enumerate(cut(rows, 2)):
        made = checkpoint(kinds.get(what, np.asarray)(piece), start)
        dump(tmp_path / "in" / f"cluster1_gpu{i}.pkl", made, protocol)
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--no-sync", preexec_fn=limit)
    assert same_bits(np.load(tmp_path / "s.npy", mmap_mode="r")[:], rows)


def test_a_merge_inside_a_128_mib_cgroup(wide, tmp_path):
    """Page cache counts here, and dirty pages too. Sources must be cold, or others are charged for them."""
    try:
        with memory_group(128 * MIB) as enter:
            assert subprocess.run(hog(400 * MIB), preexec_fn=enter).returncode != 0, "the limit does not bite"
            for path in [*(wide / "in").iterdir(), wide / "wikipedia.pkl"]:
                drop_from_cache(path)
            flags = ["--articles", wide / "wikipedia.pkl"]
            succeeds("merge", wide / "in", "-o", tmp_path / "s.npy", *flags, preexec_fn=enter)
    except Unsupported as why:
        pytest.skip(f"platform: {why}")
    succeeds("verify", tmp_path / "s.npy", "--checkpoints", wide / "in")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 24 MiB: a tmpfs, which only root can mount."""
    at = tmp_path / "disk"
    at.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        yield None
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(at)], capture_output=True)
    if mounted.returncode:
        yield None
        return
    yield at
    subprocess.run(["umount", str(at)], check=True)


def file_size_limit(size: int) -> dict:
    """The stand-in for a full disk where none can be mounted: no file may grow beyond ``size``."""

    def enter() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    # Python ignores SIGXFSZ, and restore_signals=False hands that on: a write beyond the limit is then an error.
    return {"preexec_fn": enter, "restore_signals": False}


def test_a_full_disk(tmp_path, small_disk):
    """The old store stays, the new one is not there, and the message says how much is missing."""
    rows = matrix(40_000, 256)
    write_job(tmp_path / "in", rows)
    home: Path = small_disk or tmp_path / "home"
    home.mkdir(exist_ok=True)
    options = {} if small_disk else file_size_limit(24 * MIB)
    succeeds("merge", tmp_path / "in", "-o", home / "s.npy", "--rows", "1000")
    before = {name: digest for name, digest in contents(home).items() if ".partial" not in name}
    for target, flags in (("s.npy", ["--force"]), ("t.npy", []), ("t.pkl", [])):
        result = run("merge", tmp_path / "in", "-o", home / target, *flags, **options)
        clean_error(result)
        if small_disk:
            sizes = [float(size) for size in re.findall(r"([\d.]+) M", result.said)]
            assert any(39 < size < 43 for size in sizes), f"how much is needed:\n{result.err}"
            assert any(20 < size < 26 for size in sizes), f"how much there is:\n{result.err}"
        assert {name: digest for name, digest in contents(home).items() if ".partial" not in name} == before
    succeeds("verify", home / "s.npy")
    if small_disk:
        assert not list(home.glob("*.partial")), "nothing is written before the plan is verified, free space included"


def test_a_disk_that_fills_up_during_an_export(tmp_path, small_disk):
    rows = matrix(40_000, 256)
    np.save(tmp_path / "bare.npy", rows)
    home: Path = small_disk or tmp_path / "home"
    home.mkdir(exist_ok=True)
    options = {} if small_disk else file_size_limit(24 * MIB)
    result = run("export", tmp_path / "bare.npy", "--format", "pickle", "-o", home / "m.pkl", **options)
    clean_error(result)
    assert not (home / "m.pkl").exists()


def test_a_disk_that_fits_is_filled(tmp_path, small_disk):
    """20 MB into 24 MiB: the check for free space is not a guess with a wide margin."""
    home: Path = small_disk or tmp_path
    rows = matrix(20_000, 256)
    write_job(tmp_path / "in", rows)
    succeeds("merge", tmp_path / "in", "-o", home / "s.npy")
    assert same_bits(np.load(home / "s.npy"), rows)


def test_a_folder_that_cannot_be_written(tmp_path, small_disk):
    """For root, whom no permission stops, a file system that is mounted read-only."""
    home = small_disk or tmp_path / "disk"
    if small_disk:
        subprocess.run(["mount", "-o", "remount,ro", str(home)], check=True)
    elif os.geteuid() == 0:
        pytest.skip("platform: root writes everywhere, and nothing can be mounted here")
    else:
        home.chmod(0o500)
    write_job(tmp_path / "in", matrix(10))
    result = run("merge", tmp_path / "in", "-o", home / "s.npy")
    clean_error(result)
    assert "disk" in result.err


def test_few_file_descriptors(tmp_path):
    """A thousand checkpoints are merged by a process that may hold 64 files open."""
    rows = matrix(1000, 4)
    for i, (start, piece) in enumerate(cut(rows, 1000)):
        dump(tmp_path / "in" / f"cluster1_gpu{i}.pkl", checkpoint(piece, start))

    def few() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    done = subprocess.run(
        [str(BIN), "merge", str(tmp_path / "in"), "-o", str(tmp_path / "s.npy")],
        preexec_fn=few,
        capture_output=True,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr.decode()
    assert same_bits(np.load(tmp_path / "s.npy"), rows)
