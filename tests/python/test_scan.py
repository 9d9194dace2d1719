"""Which files of a folder a merge takes, and in which order it takes those that have no range."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from harness import articles, checkpoint, cut, dump, fails, matrix, same_bits, succeeds, write_job

ROWS = matrix(120)


def files_of(result) -> list[str]:
    return [chunk["file"].rsplit("/", 1)[-1] for chunk in result.json()["chunk_info"]]


@pytest.fixture
def old_store(tmp_path):
    """A store and a merged pickle of other rows, as an earlier run left them."""
    write_job(tmp_path / "old", matrix(30, seed=7))
    dump(tmp_path / "wikipedia.pkl", articles(30))
    with_articles = ["--articles", tmp_path / "wikipedia.pkl"]
    succeeds("merge", tmp_path / "old", "-o", tmp_path / "old.npy", *with_articles)
    succeeds("merge", tmp_path / "old", "-o", tmp_path / "wikipedia_merged.pkl", *with_articles)
    return tmp_path


def fill_with_leftovers(folder, old) -> None:
    """Everything that a scan must walk past."""
    for name in ("old.npy", "old.meta.json", "old.articles.parquet", "wikipedia_merged.pkl", "wikipedia.pkl"):
        shutil.copy(old / name, folder / name)
    (folder / "part-9.pkl.part").write_bytes(b"\x80\x04 half a download")
    (folder / "part-8.pkl.partial").write_bytes(b"\x80\x04 half a download")
    (folder / "other.npy.partial").mkdir()
    shutil.copy(old / "old.npy", folder / "other.npy.partial" / "matrix.npy")
    (folder / "notes.txt").write_text("not for you\n")
    (folder / ".hidden").write_text("nor this\n")
    (folder / "subfolder").mkdir()


def test_worker_names_win_over_everything_else(tmp_path, old_store):
    write_job(tmp_path / "in", ROWS)
    fill_with_leftovers(tmp_path / "in", old_store)
    dump(tmp_path / "in" / "part-1.pkl", checkpoint(matrix(5), 120))
    result = succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--json")
    assert files_of(result) == ["cluster1_gpu0.pkl", "cluster1_gpu1.pkl", "cluster2_gpu0.pkl", "cluster2_gpu1.pkl"]
    assert same_bits(np.load(tmp_path / "s.npy"), ROWS)


def test_without_worker_names_every_readable_file_but_stores(tmp_path, old_store):
    for (start, piece), name in zip(cut(ROWS, 3), ("part-3.pkl", "part-1.pkl", "b.pickle")):
        dump(tmp_path / "in" / name, checkpoint(piece, start))
    fill_with_leftovers(tmp_path / "in", old_store)
    result = succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--json")
    assert files_of(result) == ["part-3.pkl", "part-1.pkl", "b.pickle"]
    assert same_bits(np.load(tmp_path / "s.npy"), ROWS)


def test_pattern(tmp_path):
    write_job(tmp_path / "in", ROWS)
    for i, (start, piece) in enumerate(cut(-ROWS, 2)):
        dump(tmp_path / "in" / f"worker_{i}.pkl", checkpoint(piece, start))
    result = succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--pattern", "worker_*.pkl", "--json")
    assert files_of(result) == ["worker_0.pkl", "worker_1.pkl"]
    assert same_bits(np.load(tmp_path / "s.npy"), -ROWS)


def test_several_folders_and_files_are_one_job(tmp_path):
    paths = write_job(tmp_path / "all", ROWS, parts=4)
    for folder, path in zip(("tensor01", "tensor02", "tensor02"), paths):
        (tmp_path / folder).mkdir(exist_ok=True)
        path.rename(tmp_path / folder / path.name)
    inputs = [tmp_path / "tensor02", tmp_path / "tensor01", paths[3]]
    succeeds("merge", *inputs, "-o", tmp_path / "s.npy")
    assert same_bits(np.load(tmp_path / "s.npy"), ROWS)


def test_bare_arrays_follow_in_natural_name_order(tmp_path):
    for i, (_, piece) in enumerate(cut(ROWS, 12)):
        dump(tmp_path / "in" / f"part-{i}.pkl", piece)
    result = succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--json")
    assert files_of(result) == [f"part-{i}.pkl" for i in range(12)]
    assert same_bits(np.load(tmp_path / "s.npy"), ROWS)
    assert [chunk["start_index"] for chunk in result.json()["chunk_info"]] == [10 * i for i in range(12)]


def test_ranges_file_settles_a_mixture(tmp_path):
    dump(tmp_path / "in" / "b.pkl", checkpoint(ROWS[70:], 70))
    dump(tmp_path / "in" / "a.pkl", ROWS[:70])
    fails("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    (tmp_path / "ranges.jsonl").write_text('{"file": "a.pkl", "start_index": 0}\n')
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--ranges", tmp_path / "ranges.jsonl")
    assert same_bits(np.load(tmp_path / "s.npy"), ROWS)


def test_a_target_inside_the_input_folder_is_not_its_own_input(tmp_path):
    for (start, piece), name in zip(cut(ROWS, 2), ("x.pkl", "y.pkl")):
        dump(tmp_path / "in" / name, checkpoint(piece, start))
    for target in ("merged.pkl", "merged.npy"):
        for _ in range(2):
            result = succeeds("merge", tmp_path / "in", "-o", tmp_path / "in" / target, "--force", "--json")
            assert files_of(result) == ["x.pkl", "y.pkl"]


def test_a_symbolic_link_is_a_file_like_any_other(tmp_path):
    paths = write_job(tmp_path / "elsewhere", ROWS)
    (tmp_path / "in").mkdir()
    for path in paths:
        (tmp_path / "in" / path.name).symlink_to(path)
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy")
    assert same_bits(np.load(tmp_path / "s.npy"), ROWS)
