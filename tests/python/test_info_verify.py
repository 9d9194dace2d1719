"""``info`` describes what it can read at next to no cost; ``verify`` finds one byte that is not what it was."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from harness import (
    BIN,
    DATA,
    articles,
    checkpoint,
    clean_error,
    dump,
    environment,
    fails,
    matrix,
    run,
    sidecars,
    succeeds,
    write_job,
)
from measure import Unsupported, data_limit

ROWS = matrix(3000, 32)


@pytest.fixture
def job(tmp_path):
    write_job(tmp_path / "in", ROWS)
    dump(tmp_path / "articles.pkl", articles(len(ROWS)))
    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", "--articles", tmp_path / "articles.pkl")
    return tmp_path


def info(path) -> dict:
    result = succeeds("info", path, "--json").json()
    assert {"path", "kind", "format", "shape", "dtype", "metadata", "problems"} <= result.keys()
    return result


@pytest.mark.parametrize("protocol", range(6))
def test_info_of_a_checkpoint(tmp_path, protocol):
    made = {**checkpoint(ROWS, 1000, 2, 7), "big": 1 << 80, "blob": b"12345", "odd": float("nan"), "names": {"a"}}
    found = info(dump(tmp_path / "cluster2_gpu7.pkl", made, protocol))
    assert found["kind"] == "checkpoint" and found["format"] == "pickle"
    assert found["shape"] == [3000, 32] and found["dtype"] == "float32" and found["problems"] == []
    data = found["metadata"]
    assert (data["start_index"], data["end_index"], data["cluster_id"], data["gpu_id"]) == (1000, 4000, 2, 7)
    assert data["model"] == "google/embeddinggemma-300m"
    assert data["big"] == str(1 << 80) and data["blob"] == {"bytes": 5} and data["names"] == ["a"]
    assert isinstance(data["odd"], str) and data["odd"].lower() == "nan"


def test_info_of_stores_arrays_and_the_rest(job):
    store = info(job / "s.npy")
    assert store["kind"] == "store" and store["format"] == "npy" and store["shape"] == [3000, 32]
    assert store["metadata"]["total_articles"] == 3000 and store["problems"] == []
    np.save(job / "bare.npy", ROWS.astype(">f8"))
    bare = info(job / "bare.npy")
    assert bare["kind"] == "array" and bare["dtype"] == "float64" and bare["shape"] == [3000, 32]
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    merged = info(job / "m.pkl")
    assert merged["kind"] == "store" and merged["format"] == "pickle" and merged["shape"] == [3000, 32]
    assert info(dump(job / "array.pkl", ROWS))["kind"] == "array"
    assert info(job / "articles.pkl")["kind"] == "other"


def test_info_lists_what_a_merge_would_refuse(tmp_path):
    made = checkpoint(ROWS, 0)
    del made["start_index"], made["end_index"]
    found = info(dump(tmp_path / "a.pkl", made))
    assert found["problems"] and "start_index" in " ".join(found["problems"])
    found = info(dump(tmp_path / "b.pkl", {**checkpoint(ROWS, 0), "end_index": 2999}))
    assert found["kind"] == "checkpoint" and found["problems"]


def test_info_for_people(job):
    said = succeeds("info", job / "in" / "cluster1_gpu0.pkl").said
    assert "750" in said and "32" in said and "float32" in said


def test_info_of_what_it_cannot_read(tmp_path):
    (tmp_path / "text.txt").write_text("hello\n")
    assert "text.txt" in fails("info", tmp_path / "text.txt")
    assert "gone.pkl" in fails("info", tmp_path / "gone.pkl")
    assert run("info").code == 2


def rchar(*args) -> int:
    """Bytes that a run asked the system for: read from /proc while the child is a zombie."""
    child = subprocess.Popen([str(BIN), *map(str, args)], stdout=subprocess.DEVNULL, env=environment())
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        fields = Path(f"/proc/{child.pid}/io").read_text()
    finally:
        assert child.wait() == 0
    return int(fields.split("rchar:")[1].split()[0])


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_info_on_a_48_mb_checkpoint_reads_next_to_nothing(tmp_path, protocol):
    """Counted in bytes, not in time: a busy machine changes nothing."""
    if not Path("/proc/self/io").exists():
        pytest.skip("platform: no /proc/PID/io to count bytes with")
    big = dump(tmp_path / "cluster1_gpu0.pkl", checkpoint(np.zeros((15_625, 768), np.float32), 0), protocol)
    assert big.stat().st_size > 48_000_000
    small = dump(tmp_path / "cluster1_gpu1.pkl", checkpoint(np.zeros((1, 768), np.float32), 0), protocol)
    assert rchar("info", big) < 1 << 20
    assert rchar("info", big) < rchar("info", small) + 256 * 1024


def test_verify_of_a_good_store(job):
    result = succeeds("verify", job / "s.npy", "--checkpoints", job / "in", "--json").json()
    assert result["ok"] is True and result["problems"] == [] and result["store"].endswith("s.npy")
    norms = np.linalg.norm(ROWS.astype(np.float64), axis=1)
    assert result["quality_metrics"]["mean_norm"] == pytest.approx(norms.mean(), abs=1e-6)
    assert "✓" in succeeds("verify", job / "s.npy").said
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    succeeds("verify", job / "m.pkl")


def refuted(store, *flags) -> list:
    """Verify must say no: exit 1, ``ok`` false, at least one problem; and say it to people too."""
    result = run("verify", store, "--json", *flags)
    assert result.code == 1, result.out + result.err
    data = result.json()
    assert data["ok"] is False and data["problems"]
    human = run("verify", store, *flags)
    assert human.code == 1 and "✗" in human.out + human.err
    return data["problems"]


def flip(path, at: int, bit: int = 1) -> None:
    with open(path, "r+b") as file:
        file.seek(at, os.SEEK_END if at < 0 else os.SEEK_SET)
        at = file.tell()
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ bit]))


@pytest.mark.parametrize("at", [4096, 4097, 4096 + 3000 * 16 * 4, -1])
@pytest.mark.parametrize("bit", [1, 64])
def test_one_flipped_byte_in_the_matrix(job, at, bit):
    flip(job / "s.npy", at, bit)
    refuted(job / "s.npy")


@pytest.mark.parametrize("at", [0, 8, 20, 60, 100, 1000])
def test_one_flipped_byte_in_the_header(job, at):
    flip(job / "s.npy", at)
    result = run("verify", job / "s.npy", "--json")
    assert result.code == 1, result.out


@pytest.mark.parametrize("where", [0.0, 0.1, 0.35, 0.5, 0.65, 0.9, 0.999])
def test_one_flipped_byte_in_the_articles(job, where):
    file = sidecars(job / "s.npy")[0]
    flip(file, int(file.stat().st_size * where))
    refuted(job / "s.npy")


@pytest.mark.parametrize("where", [i / 23 for i in range(23)], ids=lambda w: f"{w:.2f}")
def test_one_flipped_byte_in_the_metadata(job, where):
    """Anywhere in the record: a number, a name, a checksum, a brace. Whitespace between tokens alone may pass."""
    file = sidecars(job / "s.npy")[1]
    text = file.read_bytes()
    at = int(len(text) * where)
    while chr(text[at]).isspace():
        at += 1
    flip(file, at)
    result = run("verify", job / "s.npy", "--json")
    assert result.code == 1, f"byte {at} was {text[at - 20 : at + 20]!r}"


@pytest.mark.parametrize("key", ["model", "embedding_dim", "total_articles", "store_id"])
def test_an_edited_value_in_the_metadata(job, key):
    file = sidecars(job / "s.npy")[1]
    record = json.loads(file.read_text())
    record[key] = record[key] + 1 if isinstance(record[key], int) else "x" + str(record[key])[1:]
    file.write_text(json.dumps(record))
    assert run("verify", job / "s.npy").code == 1


def test_one_flipped_byte_in_a_merged_pickle(job):
    succeeds("export", job / "s.npy", "--format", "pickle", "-o", job / "m.pkl")
    flip(job / "m.pkl", 4096 + 200_000)
    refuted(job / "m.pkl")


@pytest.mark.parametrize("size", [0, 100, 4096, 4097, 200_000, -4, -1])
def test_a_truncated_store(job, size):
    whole = (job / "s.npy").stat().st_size
    os.truncate(job / "s.npy", size % whole if size >= 0 else whole + size)
    assert run("verify", job / "s.npy").code == 1


def test_a_store_with_bytes_behind_it(job):
    with open(job / "s.npy", "ab") as file:
        file.write(b"\0" * 64)
    assert run("verify", job / "s.npy").code == 1


def test_missing_parts(job):
    articles_file, meta_file = sidecars(job / "s.npy")
    os.remove(articles_file)
    assert any("articles" in str(problem) for problem in refuted(job / "s.npy"))
    os.remove(meta_file)
    succeeds("verify", job / "s.npy")  # a matrix without metadata is a bare array


def test_sidecars_of_another_store(job):
    write_job(job / "in2", ROWS[::-1].copy())
    succeeds("merge", job / "in2", "-o", job / "t.npy", "--articles", job / "articles.pkl")
    os.replace(job / "t.meta.json", job / "s.meta.json")
    refuted(job / "s.npy")


def test_checkpoints_finds_a_changed_row(job):
    path = job / "in" / "cluster2_gpu0.pkl"
    made = pickle.loads(path.read_bytes())
    made["embeddings"][123, 4] += 1
    dump(path, made)
    succeeds("verify", job / "s.npy")
    problems = refuted(job / "s.npy", "--checkpoints", job / "in")
    text = " ".join(map(str, problems)).replace(",", "")
    assert "cluster2_gpu0.pkl" in text and str(1500 + 123) in text


def test_checkpoints_finds_a_missing_one(job):
    os.remove(job / "in" / "cluster2_gpu0.pkl")
    text = " ".join(map(str, refuted(job / "s.npy", "--checkpoints", job / "in")))
    assert "cluster2_gpu0.pkl" in text or "1500" in text.replace(",", "")


def test_verify_compares_only_the_rows_kept(job):
    succeeds("merge", job / "in", "-o", job / "cut.npy", "--rows", "100:2000")
    succeeds("verify", job / "cut.npy", "--checkpoints", job / "in")


def hostile() -> list[Path]:
    return sorted((DATA / "hostile").glob("*.pkl"))


# Odd, but nothing in them is false: a reader may describe them or refuse them.
ODD = {
    "after_stop_second_pickle",
    "billion_laughs_dup.p4",
    "dotted_name.p4",
    "frame_too_long.p4",
    "long_binput_4G.p4",
    "nd_4d",
    "nd_be",
    "nd_native_endian",
    "nd_ok",
    "nd_zero_times_huge",
    "recursive_dict.p2",
}


def test_there_are_hostile_files():
    assert len(hostile()) >= 30, f"no hostile files under {DATA / 'hostile'}"


@pytest.mark.parametrize("path", hostile(), ids=lambda path: path.stem)
def test_a_hostile_file_costs_one_clean_error(path, tmp_path):
    """In bounded memory and stack, with nothing run and nothing left."""
    options = {}
    with suppress(Unsupported):
        options["preexec_fn"] = data_limit(64 << 20)
    result = run("info", path, cwd=tmp_path, timeout=20, **options)
    if result.code != 0 or path.stem not in ODD:
        clean_error(result)
    if path.stem != "nd_ok":
        assert run("merge", path, "-o", "s.npy", cwd=tmp_path, timeout=20, **options).code in (0, 1)
    assert not (tmp_path / "PWNED").exists()
