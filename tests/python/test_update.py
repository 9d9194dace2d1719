"""`merge --update`: only what changed is read again, and the result is the store that a fresh merge would make."""

from __future__ import annotations

import json
import os
import subprocess

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
    fails,
    matrix,
    run,
    same_bits,
    succeeds,
    write_job,
)

ROWS = matrix(3000, 24)


@pytest.fixture
def job(tmp_path):
    paths = write_job(tmp_path / "in", ROWS, parts=5)
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    return tmp_path, paths


def update(folder, *flags) -> dict:
    return succeeds("merge", folder / "in", "-o", folder / "s.npy", "--update", "--json", *flags).json()


def assert_as_fresh(folder, *flags) -> None:
    """Every byte of the updated store is that of a merge from nothing."""
    (folder / "fresh").mkdir()
    succeeds("merge", folder / "in", "-o", folder / "fresh" / "s.npy", *flags)
    updated = {name: value for name, value in contents(folder).items() if name.startswith("s.")}
    assert updated == contents(folder / "fresh")
    succeeds("verify", folder / "s.npy", "--checkpoints", folder / "in")


def rewrite(path, rows, start, **extra) -> None:
    dump(path, {**checkpoint(rows, start), **extra})


def test_nothing_changed_writes_nothing(job):
    folder, _ = job
    before = {path: path.stat().st_mtime_ns for path in folder.glob("s.*")}
    result = update(folder)
    assert result["changes"] == {
        "unchanged": [f"cluster{c}_gpu{g}.pkl" for c, g in [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1)]],
        "changed": [],
        "added": [],
        "gone": [],
    }
    assert {path: path.stat().st_mtime_ns for path in folder.glob("s.*")} == before
    assert result["shape"] == [3000, 24] and result["bytes"] > ROWS.nbytes


def test_a_changed_checkpoint_is_read_again(job):
    folder, paths = job
    start, piece = cut(ROWS, 5)[2]
    rewrite(paths[2], piece * 2, start, cluster_id=1, gpu_id=2)
    result = update(folder)
    assert result["changes"]["changed"] == [paths[2].name] and len(result["changes"]["unchanged"]) == 4
    expected = ROWS.copy()
    expected[start : start + len(piece)] *= 2
    assert same_bits(np.load(folder / "s.npy"), expected)
    assert_as_fresh(folder)


def test_unchanged_checkpoints_are_not_read(job):
    """Same size, same time, other bytes: only a reader of the rows would notice."""
    folder, paths = job
    stat = paths[0].stat()
    data = bytearray(paths[0].read_bytes())
    data[200:204] = b"\0\0\0\0"
    paths[0].write_bytes(data)
    os.utime(paths[0], ns=(stat.st_atime_ns, stat.st_mtime_ns))
    dump(folder / "in" / "cluster3_gpu0.pkl", checkpoint(matrix(10, 24, seed=9), 3000))
    result = update(folder)
    assert result["changes"]["added"] == ["cluster3_gpu0.pkl"] and len(result["changes"]["unchanged"]) == 5
    assert same_bits(np.load(folder / "s.npy")[:3000], ROWS)


def test_a_change_within_a_second_is_noticed(job):
    folder, paths = job
    stat = paths[1].stat()
    os.utime(paths[1], ns=(stat.st_atime_ns, stat.st_mtime_ns // 1_000_000_000 * 1_000_000_000 + 5))
    assert update(folder)["changes"]["changed"] == [paths[1].name]


def test_rows_are_added_at_the_end_and_dropped_there(job):
    folder, paths = job
    more = matrix(700, 24, seed=3)
    dump(folder / "in" / "cluster3_gpu0.pkl", checkpoint(more, 3000, 3, 0))
    assert update(folder)["shape"] == [3700, 24]
    assert same_bits(np.load(folder / "s.npy"), np.concatenate([ROWS, more]))
    assert_as_fresh(folder)
    os.remove(folder / "in" / "cluster3_gpu0.pkl")
    result = update(folder)
    assert result["changes"]["gone"] == ["cluster3_gpu0.pkl"] and result["shape"] == [3000, 24]
    assert same_bits(np.load(folder / "s.npy"), ROWS)


def test_a_checkpoint_that_is_gone_from_the_middle_is_a_gap(job):
    folder, paths = job
    os.remove(paths[2])
    before = contents(folder)
    assert "gap" in fails("merge", folder / "in", "-o", folder / "s.npy", "--update")
    assert contents(folder) == before


def test_another_split_of_the_same_rows(job):
    folder, paths = job
    (_, first), (start, second) = cut(ROWS, 5)[:2]
    dump(paths[0], checkpoint(np.concatenate([first, second[:100]]), 0))
    dump(paths[1], checkpoint(second[100:], start + 100, 1, 1))
    result = update(folder)
    assert result["changes"]["changed"] == [paths[0].name, paths[1].name]
    assert same_bits(np.load(folder / "s.npy"), ROWS)
    assert_as_fresh(folder)


def test_other_rows_kept(job):
    folder, paths = job
    result = update(folder, "--rows", "100:2900")
    assert result["changes"]["changed"] == [paths[0].name, paths[4].name]
    assert same_bits(np.load(folder / "s.npy"), ROWS[100:2900])
    assert_as_fresh(folder, "--rows", "100:2900")


def test_articles_go_along_unless_others_are_given(tmp_path):
    write_job(tmp_path / "in", ROWS, parts=5)
    dump(tmp_path / "w.pkl", articles(3000))
    flags = ["--articles", tmp_path / "w.pkl"]
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", *flags)
    assert update(tmp_path, *flags)["changes"]["changed"] == []
    stamp = (tmp_path / "s.npy").stat().st_mtime_ns
    assert update(tmp_path)["changes"]["changed"] == [], "without --articles those of the store stay"
    assert (tmp_path / "s.npy").stat().st_mtime_ns == stamp
    start, piece = cut(ROWS, 5)[1]
    rewrite(tmp_path / "in" / "cluster1_gpu1.pkl", piece + 1, start)
    update(tmp_path)
    succeeds("verify", tmp_path / "s.npy")
    assert json.loads((tmp_path / "s.meta.json").read_text())["articles"]["count"] == 3000
    dump(tmp_path / "in" / "cluster3_gpu0.pkl", checkpoint(matrix(5, 24), 3000))
    assert "--articles" in fails("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--update")
    dump(tmp_path / "w.pkl", articles(3005))
    update(tmp_path, *flags)
    assert_as_fresh(tmp_path, *flags)


def test_new_articles_alone_are_a_change(tmp_path):
    write_job(tmp_path / "in", ROWS, parts=5)
    dump(tmp_path / "w.pkl", articles(3000))
    flags = ["--articles", tmp_path / "w.pkl"]
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", *flags)
    dump(tmp_path / "w.pkl", [{**item, "title": "new"} for item in articles(3000)])
    result = update(tmp_path, *flags)
    assert len(result["changes"]["unchanged"]) == 5
    assert_as_fresh(tmp_path, *flags)


def test_a_dry_run_says_what_would_change(job):
    folder, paths = job
    rewrite(paths[3], cut(ROWS, 5)[3][1] * 3, cut(ROWS, 5)[3][0])
    before = contents(folder)
    result = succeeds("merge", folder / "in", "-o", folder / "s.npy", "--update", "--dry-run", "--json").json()
    assert result["changes"]["changed"] == [paths[3].name]
    said = succeeds("merge", folder / "in", "-o", folder / "s.npy", "--update", "--dry-run").said
    assert paths[3].name in said and "4 checkpoints unchanged" in said
    assert contents(folder) == before


def test_without_a_store_it_is_a_merge(tmp_path):
    write_job(tmp_path / "in", ROWS, parts=5)
    assert update(tmp_path)["changes"] is None
    assert same_bits(np.load(tmp_path / "s.npy"), ROWS)


def test_a_bare_array_is_not_updated(job):
    folder, _ = job
    np.save(folder / "bare.npy", ROWS)
    before = contents(folder)
    assert "--force" in fails("merge", folder / "in", "-o", folder / "bare.npy", "--update")
    assert contents(folder) == before


def test_a_store_is_not_merged_into_itself(job):
    folder, paths = job
    before = contents(folder)
    assert "among the inputs" in fails("merge", folder / "s.npy", "-o", folder / "s.npy", "--update")
    assert contents(folder) == before


def test_damage_in_the_old_store_is_found_and_not_published(job):
    folder, paths = job
    with open(folder / "s.npy", "r+b") as file:
        file.seek(4096 + 24 * 4 * 1000)
        file.write(b"\xff\xff")
    rewrite(paths[0], cut(ROWS, 5)[0][1] * 2, 0)
    before = contents(folder)
    clean_error(run("merge", folder / "in", "-o", folder / "s.npy", "--update"))
    assert contents(folder) == before


def test_what_narrowing_lost_is_measured_again(tmp_path):
    wide = ROWS[:100].astype(np.float64)
    wide[7, 3] = 1e300
    dump(tmp_path / "in" / "cluster1_gpu0.pkl", checkpoint(wide, 0))
    dump(tmp_path / "in" / "cluster1_gpu1.pkl", checkpoint(ROWS[100:200], 100))
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    dump(tmp_path / "in" / "cluster1_gpu1.pkl", checkpoint(ROWS[200:300], 100))
    assert update(tmp_path)["quality_metrics"]["narrowed_to_inf"] == 1
    assert_as_fresh(tmp_path)


def killed_in_mid_copy(folder) -> None:
    """An update that is killed once a piece of it has reached the journal, with its partial left behind."""
    journal = folder / "s.npy.partial" / "journal"
    command = [str(BIN), "merge", str(folder / "in"), "-o", str(folder / "s.npy"), "--update", "--threads", "1"]
    for _ in range(50):
        child = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while child.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") > 1:
                child.kill()
                break
        child.wait()
        if journal.exists() and not (folder / "s.npy.partial" / "publish").exists():
            return
        dump(folder / "in" / "cluster1_gpu0.pkl", checkpoint(matrix(15_000, 256, seed=child.pid), 0))
    pytest.fail("the update could not be caught in mid-copy")


def test_a_killed_update_leaves_the_old_store_and_goes_on(tmp_path):
    rows = matrix(60_000, 256)
    paths = write_job(tmp_path / "in", rows, parts=4)
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    rewrite(paths[3], cut(rows, 4)[3][1] * 2, cut(rows, 4)[3][0])
    killed_in_mid_copy(tmp_path)
    succeeds("verify", tmp_path / "s.npy")
    assert update(tmp_path)["rows_resumed"] > 0
    assert_as_fresh(tmp_path)
    assert not (tmp_path / "s.npy.partial").exists()
