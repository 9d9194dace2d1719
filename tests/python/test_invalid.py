"""Checkpoints that make no whole matrix: refused before the first byte, with names and numbers, leaving nothing."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from harness import checkpoint, contents, cut, dump, fails, matrix, write_job

ROWS = matrix(100)


@pytest.fixture
def refuse(tmp_path):
    """Merge must fail cleanly and leave the folder as it was; returns what was said."""

    def check(*flags) -> str:
        before = contents(tmp_path)
        said = fails("merge", tmp_path / "in", "-o", tmp_path / "s.npy", *flags)
        assert contents(tmp_path) == before
        return said

    return check


def two(folder, first: dict, second: dict) -> None:
    dump(folder / "in" / "cluster1_gpu0.pkl", first)
    dump(folder / "in" / "cluster1_gpu1.pkl", second)


def has(said: str, *parts) -> None:
    for part in parts:
        assert str(part) in said, f"{part} is not in:\n{said}"


@pytest.mark.parametrize("field", ["embeddings", "start_index", "end_index"])
def test_a_required_field_is_missing(tmp_path, refuse, field):
    broken = checkpoint(ROWS[50:], 50)
    del broken[field]
    two(tmp_path, checkpoint(ROWS[:50], 0), broken)
    has(refuse(), field, "cluster1_gpu1.pkl")


@pytest.mark.parametrize("field", ["start_index", "end_index"])
@pytest.mark.parametrize("value", [None, "50", 50.5, [50], -50, 1 << 70], ids=str)
def test_an_index_that_is_no_row_number(tmp_path, refuse, field, value):
    broken = checkpoint(ROWS[50:], 50)
    broken[field] = value
    two(tmp_path, checkpoint(ROWS[:50], 0), broken)
    has(refuse(), field, "cluster1_gpu1.pkl")


@pytest.mark.parametrize("value", [None, "rows", [[1.0, 2.0]], {"a": 1}, 3.5], ids=str)
def test_embeddings_are_not_an_array(tmp_path, refuse, value):
    broken = {**checkpoint(ROWS[50:], 50), "embeddings": value}
    two(tmp_path, checkpoint(ROWS[:50], 0), broken)
    has(refuse(), "embeddings", "cluster1_gpu1.pkl")


def test_the_range_does_not_fit_the_rows(tmp_path, refuse):
    broken = {**checkpoint(ROWS[50:], 50), "end_index": 99}
    two(tmp_path, checkpoint(ROWS[:50], 0), broken)
    has(refuse(), "cluster1_gpu1.pkl", 50, 49)


def test_a_range_that_runs_backwards(tmp_path, refuse):
    broken = {**checkpoint(ROWS[50:], 50), "end_index": 40}
    two(tmp_path, checkpoint(ROWS[:50], 0), broken)
    has(refuse(), "cluster1_gpu1.pkl", 50, 40)


def test_gap(tmp_path, refuse):
    two(tmp_path, checkpoint(ROWS[:40], 0), checkpoint(ROWS[50:], 50))
    has(refuse(), "gap", 40, 50, "cluster1_gpu0.pkl", "cluster1_gpu1.pkl")


def test_overlap(tmp_path, refuse):
    two(tmp_path, checkpoint(ROWS[:60], 0), checkpoint(ROWS[50:], 50))
    has(refuse(), "overlap", 50, 60, "cluster1_gpu0.pkl", "cluster1_gpu1.pkl")


def test_one_range_inside_another(tmp_path, refuse):
    dump(tmp_path / "in" / "cluster1_gpu2.pkl", checkpoint(ROWS[20:30], 20))
    two(tmp_path, checkpoint(ROWS[:50], 0), checkpoint(ROWS[50:], 50))
    has(refuse(), "overlap", 20, "cluster1_gpu0.pkl", "cluster1_gpu2.pkl")


def test_duplicate(tmp_path, refuse):
    dump(tmp_path / "in" / "cluster2_gpu1.pkl", checkpoint(ROWS[50:], 50))
    two(tmp_path, checkpoint(ROWS[:50], 0), checkpoint(ROWS[50:], 50))
    has(refuse(), 50, 100, "cluster1_gpu1.pkl", "cluster2_gpu1.pkl")


def test_the_same_file_named_twice(tmp_path):
    path = dump(tmp_path / "cluster1_gpu0.pkl", checkpoint(ROWS, 0))
    has(fails("merge", path, path, "-o", tmp_path / "s.npy"), "cluster1_gpu0.pkl")
    assert not (tmp_path / "s.npy").exists()


def test_the_start_is_missing(tmp_path, refuse):
    two(tmp_path, checkpoint(ROWS[10:40], 10), checkpoint(ROWS[40:], 40))
    has(refuse(), 0, 10, "cluster1_gpu0.pkl")


def test_a_gap_beyond_the_rows_kept_is_still_an_error(tmp_path, refuse):
    """A plan is whole or it is none: --rows leaves out a tail, it does not forgive a hole."""
    dump(tmp_path / "in" / "cluster1_gpu2.pkl", checkpoint(ROWS[90:], 90))
    two(tmp_path, checkpoint(ROWS[:40], 0), checkpoint(ROWS[40:80], 40))
    has(refuse("--rows", "60"), "gap", 80, 90)


def test_widths_differ(tmp_path, refuse):
    two(tmp_path, checkpoint(ROWS[:50], 0), checkpoint(matrix(50, 24), 50))
    has(refuse(), 16, 24, "cluster1_gpu0.pkl", "cluster1_gpu1.pkl")


def test_no_file_at_all(tmp_path, refuse):
    (tmp_path / "in").mkdir()
    has(refuse(), "in", "cluster*_gpu*.pkl")


def test_no_such_input(tmp_path, refuse):
    has(refuse(), tmp_path / "in")


def test_no_such_pattern(tmp_path, refuse):
    write_job(tmp_path / "in", ROWS)
    has(refuse("--pattern", "shard*.pkl"), "shard*.pkl")


def test_ranges_in_some_files_only(tmp_path, refuse):
    bare = dump(tmp_path / "in" / "cluster1_gpu1.pkl", ROWS[50:])
    dump(tmp_path / "in" / "cluster1_gpu0.pkl", checkpoint(ROWS[:50], 0))
    has(refuse(), bare.name, "--ranges")


@pytest.mark.parametrize("keep", [0, 1, 10, 100, 400, -1])
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_truncated_file(tmp_path, refuse, protocol, keep):
    whole = pickle.dumps(checkpoint(ROWS[50:], 50), protocol)
    two(tmp_path, checkpoint(ROWS[:50], 0), {})
    (tmp_path / "in" / "cluster1_gpu1.pkl").write_bytes(whole[:keep])
    has(refuse(), "cluster1_gpu1.pkl")


def test_text_in_place_of_a_checkpoint(tmp_path, refuse):
    """A Git LFS pointer and an HTML error page are what a failed download leaves."""
    two(tmp_path, checkpoint(ROWS[:50], 0), {})
    for text in ("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "<!DOCTYPE html><html></html>"):
        (tmp_path / "in" / "cluster1_gpu1.pkl").write_text(text)
        has(refuse(), "cluster1_gpu1.pkl")


def test_a_call_is_refused_and_never_made(tmp_path, refuse):
    trap = tmp_path / "trap"

    class Evil:
        def __reduce__(self):
            return (open, (str(trap), "w"))

    two(tmp_path, checkpoint(ROWS[:50], 0), {**checkpoint(ROWS[50:], 50), "extra": Evil()})
    has(refuse(), "open", "cluster1_gpu1.pkl")
    assert not trap.exists()


def test_a_class_is_refused_by_name(tmp_path, refuse):
    two(tmp_path, checkpoint(ROWS[:50], 0), {**checkpoint(ROWS[50:], 50), "extra": np.random.default_rng(0)})
    has(refuse(), "numpy.random", "cluster1_gpu1.pkl")


def test_every_checkpoint_is_looked_at_before_anything_is_written(tmp_path, refuse):
    for i, (start, piece) in enumerate(cut(ROWS, 5)):
        dump(tmp_path / "in" / f"cluster1_gpu{i}.pkl", checkpoint(piece, start))
    (tmp_path / "in" / "cluster1_gpu4.pkl").write_bytes(b"\x80\x04N.")
    has(refuse(), "cluster1_gpu4.pkl")
