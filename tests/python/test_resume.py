"""Kills, Ctrl-C, changed and shrinking sources, two merges at once: the target never lies, and the work is not lost.

A merge is caught in mid-copy by stopping it (SIGSTOP) as soon as its partial appears, so no test depends on speed.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import time

import numpy as np
import pytest
from harness import BIN, Result, articles, clean_error, dump, matrix, meta, run, same_bits, succeeds, write_job
from kill_test import Job, campaign, nap

ROWS, DIM = 60_000, 256


@pytest.fixture(scope="module")
def big():
    return matrix(ROWS, DIM)


@pytest.fixture
def job(tmp_path, big):
    """A merge of 61 MB on one thread: long enough to be caught, short enough to be repeated."""
    write_job(tmp_path / "in", big, parts=8)
    made = Job(BIN, tmp_path / "in", tmp_path / "out", flags=["--threads", "1"])
    made.clear()
    return made


def caught(job: Job, *more, rows_down: bool = False) -> subprocess.Popen:
    """A merge that stands still in mid-copy; with ``rows_down`` only once a piece of it has reached the journal."""
    for _ in range(20):
        child = job.start_copying(*more)
        while child and stopped(child) and job.partial.exists() and not (job.partial / "publish").exists():
            if journalled(job) or not rows_down:
                return child
            nap(child)
            time.sleep(0.005)
        if child:
            child.kill()
            child.communicate()
        job.clear()
    pytest.fail("the merge could not be caught in mid-copy")


def stopped(child: subprocess.Popen) -> bool:
    """Stop it, wait until all its threads stand still, and see whether it was still running."""
    child.send_signal(signal.SIGSTOP)
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
    return child.poll() is None


def journalled(job: Job) -> bool:
    """More than the journal's head has been written."""
    lines = [path.read_bytes().count(b"\n") for path in job.partial.iterdir() if "journal" in path.name]
    return bool(lines) and max(lines) > 1


def let_go(child: subprocess.Popen, *signals: int) -> Result:
    for number in signals:
        child.send_signal(number)
    child.send_signal(signal.SIGCONT)
    out, err = child.communicate(timeout=60)
    return Result(child.returncode, out, err)


@pytest.mark.parametrize("name", ["s.npy", "s.pkl"])
def test_killed_merges_resume_to_the_same_bytes(tmp_path, big, name):
    """The long version of this is scripts/kill_test.py."""
    write_job(tmp_path / "in", big, parts=8)
    dump(tmp_path / "a.pkl", articles(ROWS))
    job = Job(BIN, tmp_path / "in", tmp_path / "out", name, ["--threads", "1", "--articles", tmp_path / "a.pkl"])
    tally = campaign(job, kills=5)
    assert tally.mid_copy >= 5 and tally.resumed_rows > 0


def test_rows_resumed_counts_what_was_there(job, big):
    child = caught(job, rows_down=True)
    let_go(child, signal.SIGKILL)
    result = job.finish()
    assert 0 < result["rows_resumed"] <= ROWS
    assert same_bits(np.load(job.store), big)
    assert not job.partial.exists()


def test_the_thread_count_may_change_between_the_runs(job, big):
    let_go(caught(job, rows_down=True), signal.SIGKILL)
    job.flags[1] = "4"
    assert job.finish()["rows_resumed"] > 0
    resumed = job.digest()
    job.clear()
    job.finish()
    assert job.digest() == resumed


def test_ctrl_c_keeps_the_partial_and_says_how_to_go_on(job, big):
    result = let_go(caught(job), signal.SIGINT)
    assert result.code == 130, result.err
    assert job.partial.exists() and not job.store.exists()
    assert "same command" in result.err or "again" in result.err or "resume" in result.err, result.err
    assert "panicked" not in result.err
    job.finish()
    assert same_bits(np.load(job.store), big)


def test_sigterm_keeps_the_partial_too(job, big):
    result = let_go(caught(job), signal.SIGTERM)
    assert result.code in (130, 143, -signal.SIGTERM)
    assert not job.store.exists()
    job.finish()
    assert same_bits(np.load(job.store), big)


def test_a_source_that_changed_after_the_kill_is_read_again(job, big):
    """Same length, other bytes: its old rows must not survive in the store."""
    let_go(caught(job, rows_down=True), signal.SIGKILL)
    changed = big.copy()
    for path in sorted(job.sources.iterdir()):
        made = pickle.loads(path.read_bytes())
        first = made["start_index"]
        changed[first : first + 10] *= -1
        made["embeddings"][:10] *= -1
        dump(path, made)
    child = job.start()
    out, err = child.communicate()
    if child.returncode:
        result = Result(child.returncode, out, err)
        clean_error(result)
        assert "--restart" in result.err
        job.finish("--restart")
    assert same_bits(np.load(job.store), changed)
    succeeds("verify", job.store, "--checkpoints", job.sources)


def test_another_job_in_the_same_partial(job, big):
    let_go(caught(job, rows_down=True), signal.SIGKILL)
    before = job.digest()
    result = run("merge", job.sources, "-o", job.store, "--force", "--rows", str(ROWS - 10))
    clean_error(result)
    assert "--restart" in result.err
    assert job.digest() == before, "--force never discards a partial"
    succeeds("merge", job.sources, "-o", job.store, "--rows", str(ROWS - 10), "--restart")
    assert same_bits(np.load(job.store), big[: ROWS - 10])
    assert not job.partial.exists()


def test_restart_begins_anew(job, big):
    let_go(caught(job, rows_down=True), signal.SIGKILL)
    assert job.finish("--restart")["rows_resumed"] == 0
    assert same_bits(np.load(job.store), big)


def test_an_old_store_stands_until_the_end(job, big):
    succeeds("merge", job.sources, "-o", job.store, "--rows", "100")
    let_go(caught(job), signal.SIGKILL)
    assert same_bits(np.load(job.store), big[:100]) and meta(job.store)["shape"] == [100, DIM]
    job.finish()
    assert same_bits(np.load(job.store), big)


def test_a_dry_run_leaves_a_partial_alone(job):
    let_go(caught(job, rows_down=True), signal.SIGKILL)
    before = job.digest()
    succeeds("merge", job.sources, "-o", job.store, "--dry-run")
    assert job.digest() == before


@pytest.mark.parametrize("size", [0, 1000, -100_000])
def test_a_source_truncated_during_the_merge(job, size):
    """An error that names the file: no crash of the process, no zeros in the store."""
    child = caught(job)
    last = job.sources / "cluster2_gpu3.pkl"
    os.truncate(last, size if size >= 0 else last.stat().st_size + size)
    result = let_go(child)
    clean_error(result)
    assert last.name in result.err
    assert not job.store.exists()


def test_a_source_rewritten_during_the_merge(job):
    child = caught(job)
    last = job.sources / "cluster2_gpu3.pkl"
    made = pickle.loads(last.read_bytes())
    made["embeddings"] *= 2
    dump(last, made)
    result = let_go(child)
    clean_error(result)
    assert last.name in result.err and not job.store.exists()


def test_a_source_removed_during_the_merge(job):
    """An open file lives on after its name: either the rows are right, or the error names the file."""
    child = caught(job)
    last = job.sources / "cluster2_gpu3.pkl"
    os.remove(last)
    result = let_go(child)
    if result.code:
        clean_error(result)
        assert last.name in result.err and not job.store.exists()


def test_two_merges_into_one_store(job, big):
    """The second is told so and touches nothing; the first ends as if it had been alone."""
    child = caught(job)
    before = job.digest().keys()
    second = run("merge", job.sources, "-o", job.store, "--force")
    restart = run("merge", job.sources, "-o", job.store, "--force", "--restart")
    assert job.digest().keys() == before
    first = let_go(child)
    for result in (second, restart):
        clean_error(result)
        assert "another" in result.err or "running" in result.err or "lock" in result.err, result.err
    assert first.code == 0, first.err
    assert same_bits(np.load(job.store), big)


def test_a_damaged_journal_never_damages_the_store(job, big):
    """A torn last line is what a crash leaves: it is worth nothing, and the rows are copied again."""
    let_go(caught(job, rows_down=True), signal.SIGKILL)
    journal = next(path for path in job.partial.iterdir() if "journal" in path.name)
    os.truncate(journal, journal.stat().st_size - 3)
    job.finish()
    assert same_bits(np.load(job.store), big)
    succeeds("verify", job.store, "--checkpoints", job.sources)


def test_rows_damaged_in_the_partial_are_noticed(job, big):
    """Pieces that the journal vouches for carry a checksum: a store with other bytes is never published."""
    let_go(caught(job, rows_down=True), signal.SIGKILL)
    matrix_file = max(job.partial.iterdir(), key=lambda path: path.stat().st_size)
    with open(matrix_file, "r+b") as file:
        file.seek(4096 + 5)
        file.write(b"\xff\xff\xff")
    child = job.start()
    out, err = child.communicate()
    if child.returncode:
        clean_error(Result(child.returncode, out, err))
    else:
        assert same_bits(np.load(job.store), big)
