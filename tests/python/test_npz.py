"""Checkpoints in .npz: written by numpy and by zipfile in every way that a zip can be written, and broken on purpose."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest
from harness import checkpoint, dump, fails, matrix, meta, same_bits, succeeds

ROWS = matrix(300, 24)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def merged(tmp_path, *sources, options=()) -> np.ndarray:
    store = tmp_path / "merged.npy"
    succeeds("merge", *sources, "-o", store, "--force", *options)
    return np.load(store)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_checkpoints_of_numpy(tmp_path, save, dtype, order):
    halves = [(150, ROWS[150:]), (0, ROWS[:150])]
    for gpu, (start, rows) in enumerate(halves):
        save(tmp_path / f"part{gpu}.npz", **checkpoint(np.asarray(rows.astype(dtype), order=order), start, 4, gpu))
    expected = ROWS.astype(dtype).astype(np.float32)
    assert same_bits(merged(tmp_path, tmp_path / "part0.npz", tmp_path / "part1.npz"), expected)
    info = meta(tmp_path / "merged.npy")
    assert [(c["file"], c["cluster_id"], c["gpu_id"], c["start_index"], c["end_index"]) for c in info["chunk_info"]] == [
        ("part1.npz", 4, 1, 0, 150),
        ("part0.npz", 4, 0, 150, 300),
    ]
    assert info["model"] == "google/embeddinggemma-300m"


def test_info_tells_fields_and_shapes(tmp_path):
    others = {
        "ids": np.arange(5),
        "names": np.array(["a", "ü"]),
        "ok": np.bool_(True),
        "scale": np.float32(0.5),
        "flag": np.array([7], dtype=">u2"),
        "text": np.bytes_(b"abc"),
        "日本": np.zeros((2, 0), np.float16),
        "objects": np.array([None, 1], dtype=object),
    }
    np.savez_compressed(tmp_path / "c.npz", **checkpoint(ROWS, 10), **others)
    info = succeeds("info", "--json", tmp_path / "c.npz").json()
    assert (info["kind"], info["format"], info["shape"], info["dtype"]) == ("checkpoint", "npz", [300, 24], "float32")
    told = info["metadata"]
    assert told["start_index"] == 10 and told["end_index"] == 310 and told["model"].startswith("google/")
    assert (told["ok"], told["scale"], told["flag"], told["text"]) == (True, 0.5, 7, "abc")
    assert told["ids"] == {"array": {"shape": [5], "dtype": "int64"}}
    assert told["names"] == {"array": {"shape": [2], "dtype": "str"}}
    assert told["日本"] == {"array": {"shape": [2, 0], "dtype": "float16"}}
    assert told["objects"] == {"array": {"shape": [2], "dtype": "object"}}


def test_arrays_without_a_range_follow_each_other(tmp_path):
    np.savez(tmp_path / "part-10.npz", ROWS[200:])
    np.savez(tmp_path / "part-2.npz", embeddings=ROWS[100:200])
    np.savez_compressed(tmp_path / "part-1.npz", vectors=ROWS[:100], ids=np.arange(100))
    store = merged(tmp_path, *(tmp_path / f"part-{i}.npz" for i in (10, 1, 2)))
    assert same_bits(store, ROWS)
    info = succeeds("info", "--json", tmp_path / "part-1.npz").json()
    assert info["kind"] == "array" and any("vectors" in problem for problem in info["problems"])


def test_the_key_chooses_and_a_missing_one_lists_what_is_there(tmp_path):
    path = tmp_path / "two.npz"
    np.savez(path, title=ROWS, text=ROWS * 2)
    assert same_bits(merged(tmp_path, path, options=("--key", "text")), ROWS * 2)
    said = fails("merge", path, "-o", tmp_path / "x.npy")
    assert "title (300 24) float32" in said and "text (300 24) float32" in said and "--key" in said
    assert succeeds("info", "--json", path).json()["kind"] == "other"
    assert "only" in fails("merge", path, "-o", tmp_path / "x.npy", "--key", "only")


@pytest.mark.parametrize(
    ("array", "told"),
    [
        (np.arange(12).reshape(3, 4), "<i8"),
        (np.zeros(12, np.float32), "(12)"),
        (np.zeros((2, 2, 3), np.float32), "(2 2 3)"),
        (np.array([None]), "|O"),
        (np.zeros((3, 4), np.complex64), "<c8"),
    ],
)
def test_what_is_no_matrix_of_floats(tmp_path, array, told):
    path = tmp_path / "c.npz"
    np.savez(path, **{**checkpoint(ROWS, 0), "embeddings": array})
    assert told in fails("merge", path, "-o", tmp_path / "x.npy")
    info = succeeds("info", "--json", path).json()
    assert info["kind"] == "other" and info["metadata"]["end_index"] == 300 and len(info["problems"]) == 1


def fields(rows) -> list[tuple[str, bytes]]:
    values = {"start_index": np.int64(0), "end_index": np.int64(len(rows))}
    return [("embeddings.npy", npy(rows))] + [(f"{name}.npy", npy(value)) for name, value in values.items()]


def extra(info: zipfile.ZipInfo) -> None:
    info.extra = struct.pack("<HHI", 0x5855, 4, 7) + struct.pack("<HH3s", 0xCAFE, 3, b"abc")


def comment(info: zipfile.ZipInfo) -> None:
    info.comment = "PK\x05\x06 a comment".encode()


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("change", [lambda info: None, extra, comment])
@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("streamed", [False, True])
def test_every_form_of_zip(tmp_path, method, change, zip64, streamed):
    """Extra fields, comments, zip64 sizes and data descriptors: the directory tells what the local headers leave out."""
    path = tmp_path / "c.npz"

    class Unseekable:
        def __init__(self, file):
            self.file = file

        def write(self, data):
            return self.file.write(data)

        def flush(self):
            self.file.flush()

    with open(path, "wb") as file:
        with zipfile.ZipFile(Unseekable(file) if streamed else file, "w") as archive:
            archive.comment = "über the archive".encode() + bytes(60)
            archive.writestr("a folder/", b"")
            archive.writestr("README ümlaut.txt", "not an array")
            for name, data in fields(ROWS):
                info = zipfile.ZipInfo(name)
                info.compress_type = method
                change(info)
                with archive.open(info, "w", force_zip64=zip64) as member:
                    member.write(data)
    assert same_bits(merged(tmp_path, path), ROWS)
    assert np.array_equal(np.load(path)["embeddings"], ROWS)
    assert "README ümlaut.txt" in succeeds("info", "--json", path).json()["metadata"]


def test_zip64_end_record(tmp_path):
    """More members than 16 bits count: the directory is found through the zip64 record."""
    path = tmp_path / "c.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in fields(ROWS):
            archive.writestr(name, data)
        for index in range(66_000):
            archive.writestr(f"x/{index}", b"")
    assert same_bits(merged(tmp_path, path), ROWS)


@pytest.mark.parametrize(("method", "word"), [(zipfile.ZIP_BZIP2, "bzip2"), (zipfile.ZIP_LZMA, "LZMA")])
def test_other_compressions_are_refused_by_name(tmp_path, method, word):
    path = tmp_path / "c.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in fields(ROWS):
            archive.writestr(name, data)
    assert word in fails("merge", path, "-o", tmp_path / "x.npy")
    assert succeeds("info", "--json", path).json()["metadata"]["embeddings"]["packing"] == word


def edited(path, edit) -> bytearray:
    data = bytearray(path.read_bytes())
    edit(data)
    path.write_bytes(data)
    return data


def entry(data: bytearray, index: int = 0) -> int:
    """Where the directory's entry number ``index`` begins."""
    at = -1
    for _ in range(index + 1):
        at = data.index(b"PK\x01\x02", at + 1)
    return at


def test_encrypted_members_are_refused_by_name(tmp_path):
    path = tmp_path / "c.npz"
    np.savez(path, embeddings=ROWS)
    edited(path, lambda data: data.__setitem__(entry(data) + 8, data[entry(data) + 8] | 1))
    assert "encrypted" in fails("merge", path, "-o", tmp_path / "x.npy")


def broken(name):
    def put(offset, form, value):
        return lambda data: struct.pack_into(form, data, entry(data) + offset, value)

    def overlap(data):
        struct.pack_into("<I", data, entry(data, 1) + 42, struct.unpack_from("<I", data, entry(data) + 42)[0] + 100)

    return {
        "size beyond the file": put(20, "<I", 0x7FFFFFFF),
        "zip64 size without its field": put(20, "<I", 0xFFFFFFFF),
        "another unpacked size": put(24, "<I", 1000),
        "local header elsewhere": put(42, "<I", 5),
        "local header beyond the file": put(42, "<I", 0x7FFFFFFF),
        "overlapping members": overlap,
        "no directory": lambda data: data.__delitem__(slice(-22, None)),
        "bytes behind the end": lambda data: data.extend(b"behind"),
        "name length in the local header": lambda data: struct.pack_into("<H", data, 26, 60000),
        "wrong count": lambda data: struct.pack_into("<HH", data, len(data) - 14, 9, 9),
    }[name]


BROKEN = [
    "size beyond the file",
    "zip64 size without its field",
    "another unpacked size",
    "local header elsewhere",
    "local header beyond the file",
    "overlapping members",
    "no directory",
    "bytes behind the end",
    "name length in the local header",
    "wrong count",
]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_archives_give_one_error(tmp_path, save, name):
    path = tmp_path / "c.npz"
    save(path, **checkpoint(ROWS, 0))
    edited(path, broken(name))
    fails("merge", path, "-o", tmp_path / "x.npy")
    assert not (tmp_path / "x.npy").exists()


def test_a_name_that_occurs_twice_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in fields(ROWS):
            archive.writestr(name, data)
        with pytest.warns(UserWarning):
            archive.writestr("embeddings.npy", npy(ROWS * 2))
    assert "twice" in fails("merge", path, "-o", tmp_path / "x.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_every_truncation_gives_one_error(tmp_path, save):
    path = tmp_path / "c.npz"
    save(path, **checkpoint(ROWS[:4], 0))
    whole = path.read_bytes()
    for length in [30, 31, 50, len(whole) // 3, len(whole) // 2, len(whole) - 60, len(whole) - 22, len(whole) - 1]:
        path.write_bytes(whole[:length])
        fails("merge", path, "-o", tmp_path / "x.npy")
        fails("info", path)


def test_a_damaged_deflated_payload_is_found_while_it_is_copied(tmp_path):
    path = tmp_path / "c.npz"
    np.savez_compressed(path, **checkpoint(ROWS, 0))
    whole = path.read_bytes()
    for at in (len(whole) // 4, len(whole) // 2):
        data = bytearray(whole)
        data[at] ^= 0x55
        path.write_bytes(data)
        assert "deflated member" in fails("merge", path, "-o", tmp_path / "x.npy")
    data = bytearray(whole)
    data[entry(data) + 16] ^= 1
    path.write_bytes(data)
    assert "CRC-32" in fails("merge", path, "-o", tmp_path / "x.npy")
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.parametrize("lie", ["shape", "size", "both", "stream"])
def test_a_member_that_unpacks_to_more_or_less_than_its_shape(tmp_path, lie):
    """Bombs: the shape, the directory and the stream must agree, and no more than the shape is ever unpacked."""
    path = tmp_path / "c.npz"
    rows = ROWS.copy()
    header_rows = 10**9 if lie in ("shape", "both") else 300
    data = npy(rows).replace(b"(300, 24), }" + b" " * 7, f"({header_rows}, 24), }}".encode().ljust(19))
    if lie == "stream":
        data += bytes(10_000_000)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("embeddings.npy", data)
    size = {"shape": None, "size": 10**6, "both": 128 + 24 * 4 * 10**9, "stream": 128 + rows.nbytes}[lie]
    if size is not None and size < 2**32:
        edited(path, lambda d: struct.pack_into("<I", d, entry(d) + 24, size))
    elif size is not None:

        def zip64(d):
            at = entry(d)
            struct.pack_into("<I", d, at + 24, 0xFFFFFFFF)
            struct.pack_into("<H", d, at + 30, 12)
            d[at + 46 + 14 : at + 46 + 14] = struct.pack("<HHQ", 1, 8, size)
            struct.pack_into("<I", d, len(d) - 10, struct.unpack_from("<I", d, len(d) - 10)[0] + 12)

        edited(path, zip64)
    fails("merge", path, "-o", tmp_path / "x.npy")
    assert not (tmp_path / "x.npy").exists()


def test_a_zip_of_other_things_is_named(tmp_path):
    path = tmp_path / "c.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("notes.txt", b"nothing")
    assert "a zip file" in fails("merge", path, "-o", tmp_path / "x.npy")


def test_a_folder_of_mixed_containers(tmp_path):
    folder = tmp_path / "in"
    dump(folder / "a.pkl", checkpoint(ROWS[:100], 0))
    np.savez(folder / "b.npz", **checkpoint(ROWS[100:200].astype(np.float64), 100))
    np.savez_compressed(folder / "c.bin.npz", **checkpoint(ROWS[200:], 200))
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("notes.txt", b"nothing")
    assert same_bits(merged(tmp_path, folder), ROWS)
