"""Norms as numpy has them, bad rows where they are, and none of it dependent on the number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from harness import checkpoint, contents, cut, dump, fails, matrix, meta, same_bits, succeeds, write_job


def merged(folder, *flags) -> dict:
    """The whole JSON of a merge of ``folder/in``."""
    return succeeds("merge", folder / "in", "-o", folder / "s.npy", "--force", "--json", *flags).json()


def findings(value):
    """Every dict and every pair inside a JSON value, to look for a row beside its file whatever the field names."""
    if isinstance(value, dict):
        yield list(value.values())
        for inner in value.values():
            yield from findings(inner)
    elif isinstance(value, list):
        yield value
        for inner in value:
            yield from findings(inner)


def names_row(quality: dict, row: int, file: str) -> bool:
    """Does some finding hold this row number and this file together?"""
    return any(
        any(part == row and not isinstance(part, bool) for part in parts)
        and any(isinstance(part, str) and part.endswith(file) for part in parts)
        for parts in findings(quality)
    )


@pytest.mark.parametrize("rows, dim", [(1, 1), (1, 768), (1000, 7), (5000, 33), (20_000, 768), (3, 4097)])
def test_norms_equal_numpy(tmp_path, rows, dim):
    data = matrix(rows, dim) * np.float32(3.5)
    write_job(tmp_path / "in", data, parts=min(rows, 5))
    quality = merged(tmp_path)["quality_metrics"]
    norms = np.linalg.norm(data.astype(np.float64), axis=1)
    for name, expected in {
        "min_norm": norms.min(),
        "max_norm": norms.max(),
        "mean_norm": norms.mean(),
        "std_norm": norms.std(),
    }.items():
        assert quality[name] == pytest.approx(expected, rel=1e-6, abs=1e-6), name
    assert quality["shape"] == [rows, dim] and quality["dtype"] == "float32"
    assert (quality["has_nan"], quality["has_inf"]) == (False, False)
    assert (quality["nan_rows"], quality["inf_rows"], quality["zero_rows"]) == (0, 0, 0)


def test_the_spread_of_unit_rows_survives_cancellation(tmp_path):
    """Norms within 1e-7 of one: a naive sum of squares would lose the deviation altogether."""
    data = matrix(30_000, 64)
    data /= np.linalg.norm(data, axis=1, keepdims=True)
    write_job(tmp_path / "in", data, parts=7)
    norms = np.linalg.norm(data.astype(np.float64), axis=1)
    quality = merged(tmp_path)["quality_metrics"]
    assert quality["std_norm"] == pytest.approx(norms.std(), rel=0.05)
    assert quality["std_norm"] > 0


def test_norms_neither_overflow_nor_vanish(tmp_path):
    """Squares of 1e30 and of 1e-30 leave float32; their norms do not, so they are neither infinite nor zero."""
    data = np.full((3, 8), 1e30, np.float32)
    data[1] = 1e-30
    data[2] = np.float32(1e-45)
    write_job(tmp_path / "in", data, parts=1)
    quality = merged(tmp_path)["quality_metrics"]
    assert quality["max_norm"] == pytest.approx(1e30 * 8**0.5, rel=1e-6)
    assert quality["min_norm"] == pytest.approx(float(np.linalg.norm(data[2].astype(np.float64))), rel=1e-6)
    assert not quality["has_inf"] and quality["inf_rows"] == 0 and quality["zero_rows"] == 0


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_bad_rows_are_found_where_they_are(tmp_path, protocol):
    data = matrix(10_000, 40)
    nan, inf, zero = [0, 4999, 9999], [17, 5000], [2500, 2501]
    data[nan, [0, 20, 39]] = np.nan
    data[inf, [39, 0]] = [np.inf, -np.inf]
    data[zero] = 0
    write_job(tmp_path / "in", data, protocol=protocol)
    result = merged(tmp_path)
    quality = result["quality_metrics"]
    assert quality["has_nan"] and quality["has_inf"]
    assert (quality["nan_rows"], quality["inf_rows"], quality["zero_rows"]) == (3, 2, 2)
    files = ["cluster1_gpu0.pkl", "cluster1_gpu1.pkl", "cluster2_gpu0.pkl", "cluster2_gpu1.pkl"]
    for row in nan + inf + zero:
        assert names_row(quality, row, files[row // 2500]), f"row {row} is not named in {quality}"
    assert result["warnings"], "a merge with such rows warns"
    assert same_bits(np.load(tmp_path / "s.npy"), data), "they are reported, not repaired"


def test_a_row_may_be_nan_and_inf(tmp_path):
    data = matrix(10)
    data[3, :2] = [np.nan, np.inf]
    write_job(tmp_path / "in", data)
    quality = merged(tmp_path)["quality_metrics"]
    assert quality["has_nan"] and quality["has_inf"]
    assert quality["nan_rows"] == 1 and quality["inf_rows"] == 1


def test_negative_zero_is_a_zero_row(tmp_path):
    data = matrix(10)
    data[4] = -0.0
    write_job(tmp_path / "in", data)
    assert merged(tmp_path)["quality_metrics"]["zero_rows"] == 1
    assert same_bits(np.load(tmp_path / "s.npy"), data)


def test_all_rows_are_bad(tmp_path):
    """No norm is left to report: the JSON must still be JSON."""
    data = np.full((100, 8), np.nan, np.float32)
    write_job(tmp_path / "in", data)
    quality = merged(tmp_path)["quality_metrics"]
    assert quality["nan_rows"] == 100 and quality["has_nan"] and not quality["has_inf"]
    meta(tmp_path / "s.npy")
    succeeds("verify", tmp_path / "s.npy")


def test_only_kept_rows_count(tmp_path):
    data = matrix(100)
    data[95] = np.nan
    write_job(tmp_path / "in", data)
    assert not merged(tmp_path, "--rows", "90")["quality_metrics"]["has_nan"]


def test_a_wider_source_that_overflows(tmp_path):
    data = matrix(60).astype(np.float64)
    data[41, 5] = 1e300
    for i, (start, piece) in enumerate(cut(data, 2)):
        dump(tmp_path / "in" / f"cluster1_gpu{i}.pkl", checkpoint(piece, start))
    result = merged(tmp_path)
    quality = result["quality_metrics"]
    assert quality["narrowed_to_inf"] == 1
    assert quality["has_inf"] and quality["inf_rows"] == 1, "all metrics are of the stored float32"
    assert names_row(quality, 41, "cluster1_gpu1.pkl")
    assert any("float64" in str(warning) for warning in result["warnings"]), "narrowing is reported"
    with np.errstate(over="ignore"):
        assert same_bits(np.load(tmp_path / "s.npy"), data.astype(np.float32))


def test_infinities_of_the_source_are_not_narrowed(tmp_path):
    data = matrix(20).astype(np.float64)
    data[3, 3] = np.inf
    dump(tmp_path / "in" / "cluster1_gpu0.pkl", checkpoint(data, 0))
    quality = merged(tmp_path)["quality_metrics"]
    assert quality["inf_rows"] == 1 and quality["narrowed_to_inf"] == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_error_refuses(tmp_path, bad):
    data = matrix(5000, 8)
    data[4321, 3] = bad
    write_job(tmp_path / "in", data)
    before = contents(tmp_path)
    said = fails("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--non-finite", "error")
    assert "4321" in said and "cluster2_gpu1.pkl" in said
    assert not (tmp_path / "s.npy").exists() and not (tmp_path / "s.meta.json").exists()
    assert before.items() <= contents(tmp_path).items(), "the sources are as they were"


def test_non_finite_error_lets_a_clean_job_pass(tmp_path):
    write_job(tmp_path / "in", matrix(100))
    assert merged(tmp_path, "--non-finite", "error")["warnings"] == []


def test_threads_change_nothing(tmp_path):
    """Statistics are merged in row order over pieces of fixed size: not one bit depends on who measured them."""
    data = matrix(60_000, 96)
    data[[5, 30_000, 59_999], 0] = np.nan
    write_job(tmp_path / "in", data, parts=9)
    found = []
    for threads in ("1", "2", "5"):
        (tmp_path / threads).mkdir()
        succeeds("merge", tmp_path / "in", "-o", tmp_path / threads / "s.npy", "--threads", threads)
        found.append(contents(tmp_path / threads))
    assert found[0] == found[1] == found[2]
