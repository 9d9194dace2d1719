"""Files that are compressed as a whole: what the tools write is read, what is broken is told, and nothing is left."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import resource
import signal
import subprocess
import sys
import time
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from harness import BIN, articles, checkpoint, clean_error, contents, cut, dump, environment, fails, kept, matrix
from harness import run, same_bits, sidecars, succeeds
from measure import MIB, Unsupported, data_limit


def lz4(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "lz4") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()



CODECS = {
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, format=lzma.FORMAT_ALONE),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "lz4": lz4,
}
SKIPPED = b"\x5a\x2a\x4d\x18" + (700).to_bytes(4, "little") + b"s" * 700
VARIANTS = {
    "zlib at level 1": lambda data: zlib.compress(data, 1),
    "zlib at level 5": lambda data: zlib.compress(data, 5),
    "zlib at level 9": lambda data: zlib.compress(data, 9),
    "gzip members": lambda data: gzip.compress(data[:100]) + gzip.compress(b"") + gzip.compress(data[100:]),
    "gzip and zeros": lambda data: gzip.compress(data) + bytes(1000),
    "bzip2 streams": lambda data: bz2.compress(data[:100]) + bz2.compress(data[100:]),
    "xz streams and padding": lambda data: lzma.compress(data[:100]) + bytes(8) + lzma.compress(data[100:]) + bytes(4),
    "xz at level 9": lambda data: lzma.compress(data, preset=9),
    "zstd frames": lambda data: SKIPPED + CODECS["zstd"](data[:100]) + SKIPPED + CODECS["zstd"](data[100:]) + SKIPPED,
    "zstd ultra": lambda data: long_window(data, 27),
    "lz4 frames": lambda data: lz4(data[:100]) + SKIPPED + lz4(data[100:]),
}


def long_window(data: bytes, log: int) -> bytes:
    """A frame that says that it looks back as far as that, whatever its content."""
    parameters = zstandard.ZstdCompressionParameters(window_log=log, enable_ldm=True, write_content_size=False)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return stream.compress(data) + stream.flush()


def pickled(value, protocol: int = 4) -> bytes:
    import pickle

    return pickle.dumps(value, protocol)


def npy(rows) -> bytes:
    import io

    out = io.BytesIO()
    np.save(out, rows)
    return out.getvalue()


@pytest.mark.parametrize("how", [*CODECS, *VARIANTS])
def test_every_codec(tmp_path, how):
    compress = {**CODECS, **VARIANTS}[how]
    codec = how.split()[0]
    rows = matrix(600, 40)
    for i, (start, piece) in enumerate(cut(rows, 3)):
        (tmp_path / f"part-{i}.pkl.c").write_bytes(compress(pickled(checkpoint(piece, start, 7, i))))
    info = succeeds("info", tmp_path / "part-1.pkl.c", "--json").json()
    assert (info["kind"], info["format"], info["problems"]) == ("checkpoint", f"pickle in {codec}", [])
    assert (info["shape"], info["dtype"]) == ([200, 40], "float32")
    assert info["metadata"]["start_index"] == 200 and info["metadata"]["gpu_id"] == 1
    result = succeeds("merge", *sorted(tmp_path.glob("*.c")), "-o", tmp_path / "s.npy", "--json").json()
    assert same_bits(np.load(tmp_path / "s.npy"), rows)
    assert [(chunk["cluster_id"], chunk["gpu_id"]) for chunk in result["chunk_info"]] == [(7, 0), (7, 1), (7, 2)]
    succeeds("verify", tmp_path / "s.npy")


@pytest.mark.parametrize("codec", CODECS)
def test_bare_arrays(tmp_path, codec):
    rows = matrix(50, 8)
    path = tmp_path / f"a.npy.{codec}"
    path.write_bytes(CODECS[codec](npy(rows)))
    info = succeeds("info", path, "--json").json()
    assert (info["kind"], info["format"], info["shape"]) == ("array", f"npy in {codec}", [50, 8])
    succeeds("merge", path, "-o", tmp_path / "s.npy")
    assert same_bits(np.load(tmp_path / "s.npy"), rows)
    succeeds("export", path, "--format", "npy", "-o", tmp_path / "e.npy")
    assert same_bits(np.load(tmp_path / "e.npy"), rows)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_protocol_and_order_in_gzip(tmp_path, protocol, order):
    """Protocols 0 to 2 spell the payload as text: it is decoded out of what was unpacked, not out of the gzip file."""
    rows = matrix(300, 16)
    made = checkpoint(np.asarray(rows, order=order), 0)
    (tmp_path / "c.pkl.gz").write_bytes(gzip.compress(pickled(made, protocol)))
    succeeds("merge", tmp_path / "c.pkl.gz", "-o", tmp_path / "s.npy", "--threads", "2")
    assert same_bits(np.load(tmp_path / "s.npy"), rows)


def test_element_types_and_mixed_inputs(tmp_path):
    """Compressed and plain, pickle and npy, narrow and wide, in one folder; text beside them is no checkpoint."""
    rows = matrix(400, 8).astype(np.float16).astype(np.float32)
    parts = [piece for _, piece in cut(rows, 5)]
    home = tmp_path / "in"
    home.mkdir()
    np.save(home / "part-1.npy", parts[0])
    (home / "part-2.npy.gz").write_bytes(gzip.compress(npy(parts[1].astype(">f8"))))
    (home / "part-3.npy.zst").write_bytes(CODECS["zstd"](npy(parts[2].astype(np.float16))))
    dump(home / "part-4.pkl", parts[3])
    (home / "part-10.pkl.xz").write_bytes(lzma.compress(pickled(parts[4], 2)))
    (home / "notes.txt.gz").write_bytes(gzip.compress(b"nothing to merge\n" * 100))
    (home / "wikipedia.jsonl.gz").write_bytes(gzip.compress(b'{"id": "1", "title": "t", "url": "u"}\n' * 50))
    (home / "wikipedia.pkl.gz").write_bytes(gzip.compress(pickled(articles(30))))
    before = contents(home)
    result = succeeds("merge", home, "-o", tmp_path / "s.npy", "--json").json()
    assert [chunk["file"] for chunk in result["chunk_info"]] == [
        "part-1.npy", "part-2.npy.gz", "part-3.npy.zst", "part-4.pkl", "part-10.pkl.xz",
    ]  # fmt: skip
    assert same_bits(np.load(tmp_path / "s.npy"), rows)
    assert contents(home) == before


def test_ids_come_from_names_too(tmp_path):
    rows = matrix(10)
    made = {"embeddings": rows, "start_index": 0, "end_index": 10}
    (tmp_path / "cluster3_gpu5.pkl.gz").write_bytes(gzip.compress(pickled(made)))
    result = succeeds("merge", tmp_path, "-o", tmp_path / "s.npy", "--json").json()
    assert [(chunk["cluster_id"], chunk["gpu_id"]) for chunk in result["chunk_info"]] == [(3, 5)]


@pytest.mark.parametrize("kind", ["pkl", "jsonl", "parquet", "merged"])
@pytest.mark.parametrize("codec", ["gzip", "zstd", "zlib"])
def test_compressed_articles(tmp_path, kind, codec):
    items = articles(300)
    rows = matrix(300)
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(kept(items)), tmp_path / "plain")
        data = (tmp_path / "plain").read_bytes()
    elif kind == "jsonl":
        data = "".join(json.dumps(item) + "\n" for item in items).encode()
    else:
        data = pickled(items if kind == "pkl" else {"articles": items})
    path = tmp_path / f"wikipedia.{kind}.c"
    path.write_bytes(CODECS[codec](data))
    dump(tmp_path / "in.pkl", checkpoint(rows, 0))
    flags = ["--articles", path]
    succeeds("merge", tmp_path / "in.pkl", "-o", tmp_path / "s.npy", *flags, "--dry-run")
    succeeds("merge", tmp_path / "in.pkl", "-o", tmp_path / "s.npy", *flags)
    assert pq.read_table(sidecars(tmp_path / "s.npy")[0]).to_pylist() == kept(items)


def test_a_compressed_store(tmp_path):
    """A merged pickle that somebody has compressed is still a store: described, verified, exported with its articles."""
    rows = matrix(100)
    dump(tmp_path / "in.pkl", checkpoint(rows, 0))
    dump(tmp_path / "w.pkl", articles(100))
    succeeds("merge", tmp_path / "in.pkl", "-o", tmp_path / "m.pkl", "--articles", tmp_path / "w.pkl")
    (tmp_path / "m.pkl.gz").write_bytes(gzip.compress((tmp_path / "m.pkl").read_bytes()))
    info = succeeds("info", tmp_path / "m.pkl.gz", "--json").json()
    assert (info["kind"], info["format"], info["problems"]) == ("store", "pickle in gzip", [])
    succeeds("verify", tmp_path / "m.pkl.gz")
    succeeds("export", tmp_path / "m.pkl.gz", "--format", "npy", "-o", tmp_path / "e.npy")
    assert same_bits(np.load(tmp_path / "e.npy"), rows)
    assert pq.read_table(sidecars(tmp_path / "e.npy")[0]).to_pylist() == kept(articles(100))


@pytest.mark.parametrize("codec", CODECS)
def test_cut_short_anywhere(tmp_path, codec):
    whole = CODECS[codec](pickled(checkpoint(matrix(50, 8), 0)))
    path = tmp_path / "c.pkl.c"
    # Of a zlib file, which has no magic number, the beginning must be there to be known.
    for length in [400 if codec == "zlib" else 40, len(whole) // 2, len(whole) - 12, len(whole) - 4, len(whole) - 1]:
        path.write_bytes(whole[:length])
        said = fails("merge", path, "-o", tmp_path / "s.npy")
        assert f"the {codec} data ends early at byte {length} (compressed)" in said
        assert "c.pkl.c" in said and "fetch it again" in said
    assert not (tmp_path / "s.npy").exists()


def test_cut_between_two_blocks(tmp_path):
    """What ends at the end of a block looks whole to some readers."""
    data = pickled(checkpoint(matrix(20_000, 64), 0))
    whole = lz4(data)
    at = 7  # magic, descriptor, its checksum
    ends = []
    while size := int.from_bytes(whole[at : at + 4], "little") & 0x7FFFFFFF:
        at += 4 + size
        ends.append(at)
    assert len(ends) > 2
    path = tmp_path / "c.pkl.lz4"
    for end in [7, ends[0], ends[-1]]:
        path.write_bytes(whole[:end])
        assert f"ends early at byte {end} (compressed)" in fails("info", path)


@pytest.mark.parametrize("codec", CODECS)
def test_damaged(tmp_path, codec):
    """A flipped bit is an error of the checksum at the latest; lzma and lz4 as written here have none to rely on."""
    whole = bytearray(CODECS[codec](pickled(checkpoint(matrix(50, 8), 0))))
    path = tmp_path / "c.pkl.c"
    for at in [len(whole) // 2, len(whole) - 3] if codec != "xz" else [len(whole) // 2]:
        broken = bytearray(whole)
        broken[at] ^= 0x10
        path.write_bytes(broken)
        result = run("merge", path, "-o", tmp_path / "s.npy")
        if codec in ("lzma", "lz4"):
            assert result.code in (0, 1) and "panicked" not in result.err
            continue
        clean_error(result)
        assert codec in result.said and "c.pkl.c" in result.said
    assert codec in ("lzma", "lz4") or not (tmp_path / "s.npy").exists()


@pytest.mark.parametrize("codec", CODECS)
def test_something_else_behind_the_end(tmp_path, codec):
    whole = CODECS[codec](pickled(checkpoint(matrix(5, 8), 0)))
    (tmp_path / "c.pkl.c").write_bytes(whole + b"something else")
    said = fails("merge", tmp_path / "c.pkl.c", "-o", tmp_path / "s.npy")
    assert f"at byte {len(whole)} (compressed)" in said and "something else follows" in said


def test_what_cannot_be_read_through_compression_is_named(tmp_path):
    data = pickled(checkpoint(matrix(5, 8), 0))
    for name, content, word in [
        ("twice.pkl.gz.gz", gzip.compress(gzip.compress(data)), "unpack it first"),
        ("html.pkl.gz", gzip.compress(b"<!DOCTYPE html>" + b" " * 1000), "HTML"),
        ("text.gz", gzip.compress(b"hello, this is a text" * 100), "starts with 68 65 6c 6c 6f"),
        ("nothing.gz", gzip.compress(b""), "empty"),
        ("skipped.zst", SKIPPED, "empty"),
        ("tar.gz", gzip.compress(bytes(257) + b"ustar" + bytes(800)), "tar archive"),
    ]:
        (tmp_path / name).write_bytes(content)
        said = fails("merge", tmp_path / name, "-o", tmp_path / "s.npy")
        assert word in said and name in said, said


def test_no_rows_in_it(tmp_path):
    """Described with exit 0, refused by merge with the reason."""
    (tmp_path / "d.pkl.gz").write_bytes(gzip.compress(pickled({"model": "m", "vectors": matrix(4)})))
    info = succeeds("info", tmp_path / "d.pkl.gz", "--json").json()
    assert (info["kind"], info["format"], info["metadata"]["model"]) == ("other", "pickle in gzip", "m")
    assert "embeddings" in info["problems"][0]
    assert "--key" in fails("merge", tmp_path / "d.pkl.gz", "-o", tmp_path / "s.npy")
    succeeds("merge", tmp_path / "d.pkl.gz", "-o", tmp_path / "s.npy", "--key", "vectors", "--ranges", ranges(tmp_path))
    assert same_bits(np.load(tmp_path / "s.npy"), matrix(4))


def ranges(folder):
    path = folder / "ranges.jsonl"
    path.write_text('{"file": "d.pkl.gz", "start_index": 0}\n')
    return path


def test_a_window_beyond_the_limit_is_refused_by_name(tmp_path):
    (tmp_path / "c.pkl.zst").write_bytes(long_window(pickled(checkpoint(matrix(5, 8), 0)), 28))
    said = fails("merge", tmp_path / "c.pkl.zst", "-o", tmp_path / "s.npy")
    assert "128 MiB" in said and "--long=31" in said


@pytest.fixture
def small_disk(tmp_path):
    at = tmp_path / "disk"
    at.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("platform: only root can mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(at)], capture_output=True)
    if mounted.returncode:
        pytest.skip("platform: nothing can be mounted here")
    yield at
    subprocess.run(["umount", str(at)], check=True)


@pytest.mark.parametrize("codec", ["gzip", "bzip2", "xz", "zstd"])
def test_a_bomb_does_not_fill_the_disk(tmp_path, small_disk, codec):
    bomb = CODECS[codec](pickled({"embeddings": np.zeros((200_000, 256), np.float32)}))
    assert len(bomb) < MIB
    (tmp_path / "bomb.pkl.c").write_bytes(bomb)
    (small_disk / "other").write_bytes(b"o" * MIB)
    said = fails("merge", tmp_path / "bomb.pkl.c", "-o", small_disk / "s.npy")
    assert "bomb.pkl.c" in said and str(small_disk) in said and "unpacks to more than" in said and "free some space" in said
    assert [path.name for path in small_disk.iterdir()] == ["other"]
    left = os.statvfs(small_disk)
    assert left.f_bavail == left.f_bfree and left.f_bavail * left.f_frsize > 22 * MIB, "the spool is gone"
    said = fails("info", tmp_path / "bomb.pkl.c", env=environment(TMPDIR=str(small_disk)))
    assert str(small_disk) in said


def test_too_many_files(tmp_path):
    """A compressed input keeps one file open: the soft limit is raised by itself, the hard one is told."""
    rows = matrix(200, 4)
    for i, (start, piece) in enumerate(cut(rows, 200)):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{i}.pkl.gz").write_bytes(gzip.compress(pickled(checkpoint(piece, start))))

    def soft() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1024))

    def hard() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    succeeds("merge", tmp_path / "in", "-o", tmp_path / "s.npy", preexec_fn=soft)
    assert same_bits(np.load(tmp_path / "s.npy"), rows)
    said = fails("merge", tmp_path / "in", "-o", tmp_path / "t.npy", preexec_fn=hard)
    assert "ulimit -n" in said


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """120 MB of rows that do not compress much, and what each codec makes of them."""
    folder = tmp_path_factory.mktemp("large")
    rows = matrix(40_000, 768)
    data = pickled(checkpoint(rows, 0))
    made = {
        "gzip": gzip.compress(data, 1),
        "zstd": zstandard.ZstdCompressor(level=1).compress(data),
        "lz4": lz4(data),
        "coded": gzip.compress(pickled(checkpoint(rows, 0), 2), 1),
    }
    for name, content in made.items():
        (folder / f"{name}.pkl.c").write_bytes(content)
    return folder, rows


@pytest.mark.parametrize("name", ["gzip", "zstd", "lz4", "coded"])
def test_memory_does_not_grow_with_the_file(large, tmp_path, name):
    folder, rows = large
    try:
        limit = data_limit(64 * MIB)
    except Unsupported as why:
        pytest.skip(f"platform: {why}")
    flags = ["--no-sync", "--threads", "2"]
    succeeds("merge", folder / f"{name}.pkl.c", "-o", tmp_path / "s.npy", *flags, preexec_fn=limit)
    assert same_bits(np.load(tmp_path / "s.npy", mmap_mode="r")[:], rows)


def test_nothing_is_left_behind(large, tmp_path):
    """Not after success, not after failure, not after kill -9 in the middle of unpacking."""
    folder, rows = large
    home = tmp_path / "home"
    home.mkdir()
    env = environment(TMPDIR=str(home))
    succeeds("info", folder / "gzip.pkl.c", env=env)
    assert contents(home) == {}
    (tmp_path / "cut.pkl.gz").write_bytes((folder / "gzip.pkl.c").read_bytes()[:-20])
    fails("merge", tmp_path / "cut.pkl.gz", "-o", home / "s.npy", env=env)
    assert contents(home) == {}
    command = [str(BIN), "merge", str(folder / "gzip.pkl.c"), "-o", str(home / "s.npy"), "--progress", "none"]
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Killed as soon as it holds a file without a name: it is unpacking then.
    while child.poll() is None and not any("(deleted)" in link for link in links(child.pid)):
        time.sleep(0.001)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL or sys.platform != "linux"
    assert contents(home) == {}
    succeeds("merge", folder / "gzip.pkl.c", "-o", home / "s.npy", env=env)
    assert sorted(contents(home)) == ["s.meta.json", "s.npy"]
    assert same_bits(np.load(home / "s.npy", mmap_mode="r")[:], rows)


def links(pid: int) -> list[str]:
    found = []
    try:
        with os.scandir(f"/proc/{pid}/fd") as entries:
            for entry in entries:
                found.append(os.readlink(entry.path))
    except OSError:
        pass
    return found
