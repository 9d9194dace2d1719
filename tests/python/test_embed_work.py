"""``embed work``: files of text in, the same files with embeddings out, whatever happens on the way.

The vectors are compared with those of an independent implementation.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from embedding import DIM, EMB, MODEL, agree, embeddings, golden, made_by, repeated, write_texts, write_tree
from harness import BIN, clean_error, contents, environment, fails, run, succeeds

ENGINE = ["--model", MODEL, "--engine", "builtin"]


def work(*args, **options) -> dict:
    return succeeds("embed", "work", *ENGINE, "--json", *args, **options).json()


def refused(*args, **options) -> str:
    return fails("embed", "work", *ENGINE, *args, **options)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The golden texts and their output."""
    folder = tmp_path_factory.mktemp("made")
    texts, _ = golden()
    source = write_texts(folder / "in.parquet", texts, compression="zstd")
    report = work("--input", source, "--output", folder / "out" / "out.parquet")
    return source, folder / "out" / "out.parquet", report


def test_vectors_are_those_of_an_independent_implementation(made):
    agree(embeddings(made[1]), golden()[1])


def test_rows_and_columns_of_the_input_are_kept_as_they_were(made):
    source, output, _ = made
    before, after = pq.read_table(source), pq.read_table(output)
    assert after.schema.names == before.schema.names + EMB
    assert after.select(before.schema.names).equals(before)


def test_embeddings_lie_uncompressed_and_other_columns_as_before(made):
    group = pq.read_metadata(made[1]).row_group(0)
    columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert columns["text"].compression == "ZSTD"
    assert {columns[name].compression for name in EMB} == {"UNCOMPRESSED"}
    assert not any("RLE_DICTIONARY" in columns[name].encodings for name in EMB)


def test_the_footer_says_how_it_was_made(made):
    _, output, report = made
    told = made_by(output)
    assert told["model_hash"] == report["model_hash"] and len(told["model_hash"]) == 64
    assert (told["engine"], told["device"]) == ("builtin", "cpu")
    assert (told["max_tokens"], told["dim"], told["dtype"]) == (256, DIM, "float32")
    assert pq.read_metadata(output).metadata[b"model"] == b"minilm"


def test_the_report_counts(made):
    texts, report = golden()[0], made[2]
    assert (report["embedded"], report["skipped"], report["failed"], report["rows"]) == (1, 0, 0, len(texts))
    assert report["empty"] == sum(not text for text in texts) > 0
    assert report["truncated"] > 0 and report["tokens"] > len(texts)
    assert report["engine"] == "builtin" and report["seconds"] > 0


def test_null_and_empty_texts_embed_as_the_empty_text(tmp_path):
    source = write_texts(tmp_path / "in.parquet", ["a word", None, "", "a word"])
    report = work("--input", source, "--output", tmp_path / "out.parquet")
    assert report["empty"] == 2
    got = embeddings(tmp_path / "out.parquet")
    assert np.array_equal(got[1], got[2]) and np.array_equal(got[0], got[3])
    assert not np.allclose(got[0], got[1], atol=0.1)


def test_many_row_groups_and_windows_keep_the_order_of_rows(tmp_path):
    """More rows than a window has, of very different lengths, in small row groups."""
    words = [f"word{i % 50}" for i in range(9000)]
    words[8500] = "a longer text of a few words"
    source = write_texts(tmp_path / "in.parquet", words, row_group_size=700)
    work("--input", source, "--output", tmp_path / "out.parquet", timeout=300)
    assert pq.read_table(tmp_path / "out.parquet", columns=["text"])["text"].to_pylist() == words
    got = embeddings(tmp_path / "out.parquet")
    for row in (0, 1, 49):
        same = [i for i in range(row, 9000, 50) if words[i] == words[row]]
        assert np.abs(got[same] - got[row]).max() < 1e-5
    alone = write_texts(tmp_path / "alone.parquet", [words[8500], words[7]])
    work("--input", alone, "--output", tmp_path / "alone.out.parquet")
    agree(embeddings(tmp_path / "alone.out.parquet"), got[[8500, 7]])


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())], ids=str
)
def test_every_type_of_text(tmp_path, kind):
    texts, vectors = repeated(20)
    array = (
        pa.array(texts, pa.string()).cast(kind)
        if not pa.types.is_dictionary(kind)
        else pa.array(texts).dictionary_encode().cast(kind)
    )
    pq.write_table(pa.table({"body": array}), tmp_path / "in.parquet")
    work("--input", tmp_path / "in.parquet", "--output", tmp_path / "out.parquet")
    agree(embeddings(tmp_path / "out.parquet"), vectors)
    assert (
        pq.read_schema(tmp_path / "out.parquet").field("body").type
        == pq.read_schema(tmp_path / "in.parquet").field("body").type
    )


def test_other_columns_of_any_type_pass_through(tmp_path):
    table = pa.table(
        {
            "ids": pa.array([[1, 2], [], None], pa.list_(pa.int32())),
            "meta": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}]),
            "when": pa.array([0, None, 1_700_000_000_123], pa.timestamp("ms", tz="UTC")),
            "price": pa.array([None, "1.25", "3.50"]).cast(pa.decimal128(9, 2)),
            "blob": pa.array([b"\x00\xff", None, b""]),
            "flag": pa.array([True, None, False]),
            "text": ["one", "two", "three"],
        },
        metadata={"pandas": '{"columns": []}', "mine": "kept"},
    )
    pq.write_table(
        table, tmp_path / "in.parquet", compression={"ids.list.element": "gzip", "text": "snappy", "meta.a": "zstd"}
    )
    work("--input", tmp_path / "in.parquet", "--output", tmp_path / "out.parquet")
    after = pq.read_table(tmp_path / "out.parquet")
    assert after.select(table.schema.names).equals(pq.read_table(tmp_path / "in.parquet"))
    assert after.schema.metadata[b"mine"] == b"kept" and after.schema.metadata[b"pandas"] == b'{"columns": []}'
    before, group = pq.read_metadata(tmp_path / "in.parquet").row_group(0), pq.read_metadata(
        tmp_path / "out.parquet"
    ).row_group(0)
    kept = [(before.column(i).path_in_schema, before.column(i).compression) for i in range(before.num_columns)]
    assert kept == [(group.column(i).path_in_schema, group.column(i).compression) for i in range(len(kept))]


def test_memory_does_not_grow_with_large_rows(tmp_path):
    """400 MB of texts of four megabytes each, within the 512 MB that a worker may need: read at once they do not fit."""
    texts = [(f"{row} and some words, " * 400_000)[:4_000_000] for row in range(100)]
    # A page is read as a whole, and without this all rows would be in one.
    pages = {"write_batch_size": 1, "use_dictionary": False}
    source = write_texts(tmp_path / "in.parquet", texts, compression="none", **pages)
    footer = pq.read_metadata(source)
    assert footer.num_row_groups == 1 and footer.row_group(0).total_byte_size > 400_000_000
    limit = 512 << 20
    flags = ["--input", source, "--output", tmp_path / "out.parquet", "--threads", "1"]
    report = work(*flags, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)), timeout=300)
    assert (report["rows"], report["truncated"]) == (100, 100)


def test_a_file_without_rows(tmp_path):
    source = write_texts(tmp_path / "in.parquet", [])
    assert work("--input", source, "--output", tmp_path / "out.parquet")["rows"] == 0
    assert embeddings(tmp_path / "out.parquet").shape == (0, DIM)


def test_the_text_column_is_found_or_asked_for(tmp_path):
    two = pa.table({"body": ["a"], "content": ["b"], "n": [1]})
    pq.write_table(two, tmp_path / "two.parquet")
    said = refused("--input", tmp_path / "two.parquet", "--output", tmp_path / "o.parquet")
    assert "body and content" in said and "n (Int64)" in said and "--text-column" in said
    work("--input", tmp_path / "two.parquet", "--output", tmp_path / "o.parquet", "--text-column", "content")
    said = refused("--input", tmp_path / "two.parquet", "--output", tmp_path / "n.parquet", "--text-column", "n")
    assert "holds Int64" in said
    pq.write_table(pa.table({"comment": ["a"]}), tmp_path / "none.parquet")
    said = refused("--input", tmp_path / "none.parquet", "--output", tmp_path / "p.parquet")
    assert "comment (Utf8)" in said


def test_a_valid_output_is_skipped_and_another_is_made_again(tmp_path):
    texts, vectors = repeated(10)
    source, output = write_texts(tmp_path / "in.parquet", texts), tmp_path / "out.parquet"
    flags = ["--input", source, "--output", output]
    work(*flags)
    before = contents(tmp_path)
    assert (work(*flags)["skipped"], contents(tmp_path)) == (1, before)

    output.write_bytes(output.read_bytes()[:-100])
    result = succeeds("embed", "work", *ENGINE, *flags)
    assert "damaged or not finished" in result.err
    agree(embeddings(output), vectors)

    write_texts(source, texts[:7])
    assert work(*flags)["rows"] == 7

    pq.write_table(pq.read_table(output).drop_columns(EMB[-1]), output)
    assert work(*flags)["embedded"] == 1
    assert work(*flags, "--force")["embedded"] == 1


def test_what_another_program_made_is_taken_where_it_has_the_columns(tmp_path):
    """Older workers leave no word of their model."""
    source = write_texts(tmp_path / "in.parquet", ["a", "b"])
    columns = {"id": [0, 1], "text": ["a", "b"], **{name: pa.array([0.5, 1], pa.float32()) for name in EMB}}
    pq.write_table(pa.table(columns), tmp_path / "out.parquet")
    assert work("--input", source, "--output", tmp_path / "out.parquet")["skipped"] == 1


def test_the_output_of_another_model_is_not_replaced_unless_asked(tmp_path):
    source = write_texts(tmp_path / "in.parquet", ["a", "b"])
    flags = ["--input", source, "--output", tmp_path / "out.parquet"]
    work(*flags, "--max-tokens", "64")
    before = contents(tmp_path)
    said = refused(*flags)
    assert "another model" in said and "--force" in said and contents(tmp_path) == before
    assert work(*flags, "--force")["embedded"] == 1


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"no Parquet"),
        lambda path: path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(flipped(path.read_bytes())),
    ],
    ids=["other", "half", "empty", "missing", "flipped"],
)
def test_a_damaged_input_is_named_and_leaves_nothing(tmp_path, damage):
    source = write_texts(tmp_path / "in.parquet", repeated(50)[0], compression="zstd")
    damage(source)
    said = refused("--input", source, "--output", tmp_path / "out" / "out.parquet")
    assert "in.parquet" in said
    assert [path for path in (tmp_path / "out").rglob("*")] == [] if (tmp_path / "out").exists() else True


def flipped(data: bytes) -> bytes:
    """Bytes of the first page turned over."""
    return data[:60] + bytes(255 - byte for byte in data[60:400]) + data[400:]


def test_an_input_with_embeddings_and_an_output_that_is_the_input_are_refused(made, tmp_path):
    said = refused("--input", made[1], "--output", tmp_path / "o.parquet")
    assert "emb_000" in said
    before = contents(made[0].parent)
    said = refused("--input", made[0], "--output", made[0], "--force")
    assert "the input and the output" in said and contents(made[0].parent) == before


def test_a_missing_model_is_told_with_what_mends_it(tmp_path):
    source = write_texts(tmp_path / "in.parquet", ["a"])
    result = run(
        "embed", "work", "--model", tmp_path / "nothing", "--input", source, "--output", tmp_path / "o.parquet"
    )
    clean_error(result)
    assert "nothing" in result.err and "--model" in result.err


def test_shards_are_all_files_once(tmp_path):
    vectors = write_tree(tmp_path / "chains", 9)
    done = [work("--shard", f"{index}/3", cwd=tmp_path)["embedded"] for index in range(3)]
    assert sum(done) == 9 and max(done) < 9
    for relative, expected in vectors.items():
        agree(embeddings(tmp_path / "embeddings" / relative), expected)
    assert [work("--shard", f"{index}/3", cwd=tmp_path)["embedded"] for index in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("source", [["--drain"], ["--shard", "0/1"]], ids=["folders", "shard"])
def test_an_output_that_is_cut_off_is_made_again_and_said(tmp_path, source):
    vectors = write_tree(tmp_path / "chains", 5)
    work(*source, cwd=tmp_path)
    broken, stale, *whole = [tmp_path / "embeddings" / name for name in vectors]
    broken.write_bytes(broken.read_bytes()[:-20])
    texts, vectors[str(stale.relative_to(tmp_path / "embeddings"))] = repeated(13)
    write_texts(tmp_path / "chains" / stale.relative_to(tmp_path / "embeddings"), texts)
    before = {path: path.stat().st_ino for path in whole}
    counted = succeeds("embed", "enqueue", "--dry-run", "--json", cwd=tmp_path).json()
    assert (counted["done"], counted["missing"]) == (5, 0), "to count, nothing is looked into"
    result = succeeds("embed", "work", *ENGINE, *source, "--json", cwd=tmp_path)
    assert result.json()["embedded"] == 2
    assert f"{broken.name}: is damaged or not finished" in result.err and "it is made again" in result.err
    assert f"{stale.name}: has " in result.err
    for relative, expected in vectors.items():
        agree(embeddings(tmp_path / "embeddings" / relative), expected)
    assert {path: path.stat().st_ino for path in whole} == before
    assert work(*source, cwd=tmp_path)["embedded"] == 0


def test_a_bad_file_in_a_shard_stops_nobody(tmp_path):
    write_tree(tmp_path / "chains", 4)
    (tmp_path / "chains" / "00" / "bad.parquet").write_bytes(b"no Parquet")
    result = run("embed", "work", *ENGINE, "--shard", "0/1", "--json", cwd=tmp_path)
    assert result.code == 1
    report = result.json()
    assert (report["embedded"], report["failed"]) == (4, 1)
    assert "bad.parquet" in report["failures"][0]["input"] and "bad.parquet" in result.err


def test_an_output_that_cannot_be_written_stops_nothing_else(tmp_path):
    others = [relative for relative in write_tree(tmp_path / "chains", 4) if not relative.endswith("_0.parquet")]
    (tmp_path / "embeddings" / "00" / "Sub0" / "chains_chunk_0.parquet" / "somebody's").mkdir(parents=True)
    for _ in range(3):
        assert "chains_chunk_0.parquet" in refused("--drain", cwd=tmp_path)
    assert work("--drain", cwd=tmp_path)["failed"] == 0
    assert all(made_by(tmp_path / "embeddings" / relative) for relative in others)
    assert succeeds("embed", "status", "--json", cwd=tmp_path).json()["dead"] == 1
    result = run("embed", "work", *ENGINE, "--shard", "0/1", "--json", cwd=tmp_path)
    assert result.code == 1 and (result.json()["skipped"], result.json()["failed"]) == (0, 1)


def test_a_folder_as_the_queue_is_worked_off_by_several_processes(tmp_path):
    vectors = write_tree(tmp_path / "chains", 10)
    command = [BIN, "embed", "work", *ENGINE, "--drain", "--json", "--threads", "1"]
    workers = [
        subprocess.Popen(list(map(str, command)), cwd=tmp_path, env=environment(), stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    reports = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    assert sum(report["embedded"] for report in reports) == 10 and sum(report["lost"] for report in reports) == 0
    for relative, expected in vectors.items():
        agree(embeddings(tmp_path / "embeddings" / relative), expected)
    left = [path.name for path in (tmp_path / "embeddings").rglob("*") if path.is_file() and path.suffix != ".parquet"]
    assert left == [".embstore-done.jsonl"], "the count of what is done, and no claim"


def wait_until(true, timeout: float = 30) -> None:
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.02)


def staged(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".tmp" in path.name]


def start(*args, cwd: Path) -> subprocess.Popen:
    command = [BIN, "embed", "work", *ENGINE, "--threads", "1", *args]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(list(map(str, command)), cwd=cwd, env=environment(), **pipes)


def test_ctrl_c_gives_the_job_back_and_leaves_nothing_half_written(tmp_path):
    write_texts(tmp_path / "chains" / "00" / "a.parquet", repeated(3000)[0])
    worker = start("--drain", cwd=tmp_path)
    wait_until(lambda: staged(tmp_path))
    worker.send_signal(signal.SIGINT)
    _, said = worker.communicate(timeout=30)
    assert worker.returncode == 130, said
    assert [path for path in (tmp_path / "embeddings").rglob("*") if path.is_file()] == []
    status = succeeds("embed", "status", "--queue", "dir", "--json", cwd=tmp_path).json()
    assert (status["waiting"], status["running"], status["dead"]) == (1, 0, 0)


def test_what_a_killed_worker_leaves_is_taken_over_when_its_lease_is_out(tmp_path):
    texts, vectors = repeated(2000)
    write_texts(tmp_path / "chains" / "00" / "a.parquet", texts)
    worker = start("--drain", "--lease", "1s", cwd=tmp_path)
    wait_until(lambda: staged(tmp_path))
    worker.kill()
    worker.communicate()
    assert staged(tmp_path), "the control: something was left"
    # Fewer rows, so that the second worker is done soon; the first one's file was never whole.
    texts, vectors = texts[:40], vectors[:40]
    write_texts(tmp_path / "chains" / "00" / "a.parquet", texts)
    assert work("--drain", "--lease", "1s", cwd=tmp_path)["embedded"] == 1
    agree(embeddings(tmp_path / "embeddings" / "00" / "a.parquet"), vectors)
    assert staged(tmp_path) == []


def test_the_outputs_are_checkpoints_of_a_merge(tmp_path):
    vectors = write_tree(tmp_path / "chains", 6)
    work("--drain", cwd=tmp_path)
    report = succeeds("merge", "embeddings/00/Sub0/", "-o", "Sub0.npy", "--json", cwd=tmp_path).json()
    mine = [vectors[name] for name in sorted(vectors) if name.startswith("00/Sub0/")]
    agree(np.load(tmp_path / "Sub0.npy", mmap_mode="r"), np.concatenate(mine))
    assert report["quality_metrics"]["has_nan"] is False
    assert json.loads((tmp_path / "Sub0.meta.json").read_text())["model"] == "minilm"


def test_a_full_disk_gives_the_job_back_and_ends_the_worker(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("platform: only root can mount a small disk")
    write_texts(tmp_path / "chains" / "00" / "a.parquet", repeated(1500)[0])
    small = tmp_path / "embeddings"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        said = refused("--drain", cwd=tmp_path, timeout=180)
        assert "space" in said
        assert [path for path in small.rglob("*.parquet*")] == []
    finally:
        subprocess.run(["umount", small], check=True)
