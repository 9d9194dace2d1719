#!/usr/bin/env python3
"""Writes golden.jsonl: what Python itself loads from every pickle of this folder, and with --make the files that are made here.

By hand, with the versions that made the committed files:
    python3.11 -m venv v && v/bin/pip install numpy==2.4.6 ml_dtypes==0.6.0 && v/bin/python golden.py

A line is {"file", "value"} with the value as JSON (the rules are at Tree::to_json), and "arrays": a list of [path, dtype,
shape, CRC-32 of the elements in C order and little-endian], or {"file", "refused"} where the scanner must
not read it. Long texts are left out of the value by their length, as the scanner does.
"""
import collections, datetime, decimal, fractions, io, json, math, pathlib, pickle, pickletools, sys, uuid, zlib
import warnings
import ml_dtypes
import numpy as np

HERE = pathlib.Path(__file__).parent
LONG = 1024
warnings.simplefilter("ignore")


class Names(pickle.Unpickler):
    """numpy 1's names that numpy 2 lost."""

    LOST = {("numpy.core.memmap", "memmap"): np.memmap, ("numpy.matrixlib.defmatrix", "matrix"): np.matrix}

    def find_class(self, module, name):
        return self.LOST.get((module, name)) or super().find_class(module, name)


def element(dtype):
    if dtype.fields or dtype.subdtype:
        return "structured"
    kinds = {"U": "str", "S": "bytes", "O": "object", "M": "datetime64", "m": "timedelta64", "V": "void"}
    if dtype.name == "bfloat16":
        return "bfloat16"
    if dtype.kind == "f" and dtype.itemsize > 8:
        return "longdouble"
    return kinds.get(dtype.kind, dtype.name)


def crc(array):
    dtype = array.dtype
    if dtype.kind == "O":
        return zlib.crc32(b"")
    little = np.ascontiguousarray(array)
    if dtype.kind in "iufc" and dtype.byteorder == ">":
        little = little.astype(dtype.newbyteorder("<"))
    return zlib.crc32(little.tobytes())


def text(value):
    encoded = value.encode("utf-8", "surrogatepass")
    return {"text": {"bytes": len(encoded)}} if len(encoded) > LONG else value


def arrays(value, path):
    if isinstance(value, np.ndarray):
        yield [path, element(value.dtype), list(value.shape), crc(value)]
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from arrays(item, f"{path}/{Plain('').key(key)}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value[:1024]):
            yield from arrays(item, f"{path}/{i}")


class Plain:
    """The JSON form, of at most 10,000 values."""

    def __init__(self, path):
        self.path = path
        self.left = 10_000

    def key(self, key):
        key = self.value(key)
        return key if isinstance(key, str) else json.dumps(key, separators=(",", ":"))

    def value(self, value):
        self.left = max(self.left - 1, 0)
        if isinstance(value, dict):
            out = {}
            for i, (key, item) in enumerate(value.items()):
                if not self.left:
                    out["…"] = {"more": len(value) - i}
                    break
                key = self.key(key)
                out[key] = self.value(item)
            return out
        if isinstance(value, (list, tuple, set, frozenset, collections.deque)):
            out = []
            for item in list(value)[: 1024 if isinstance(value, list) else None]:
                if not self.left:
                    break
                out.append(self.value(item))
            return out + [{"more": len(value) - len(out)}] if len(out) < len(value) else out
        return scalar(value, self.path)


def scalar(value, path):
    if isinstance(value, np.ndarray):
        return {"array": {"shape": list(value.shape), "dtype": element(value.dtype)}}
    if isinstance(value, np.generic) and not isinstance(value, (str, bytes, float)):
        if isinstance(value, (np.longdouble, np.datetime64)):
            return "numpy._core.multiarray.scalar"
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return text(str(value))
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, float):
        value = float(value)
        return value if math.isfinite(value) else "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, complex):
        return f"({value.real:g}{value.imag:+g}j)"
    if isinstance(value, np.bytes_) and "py27" in str(path):
        return value.decode()  # Python 2's only string
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": len(value)}
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, datetime.timezone):
        return str(value).replace("UTC", "") or "+00:00"
    if isinstance(value, (datetime.timedelta, decimal.Decimal, fractions.Fraction, pathlib.PurePath, uuid.UUID)):
        return str(value)
    if isinstance(value, (range, slice)):
        return repr(value)
    if isinstance(value, np.dtype):
        return element(value)
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    raise TypeError(type(value))


def refused(path):
    name = path.name
    if "arr_masked" in name:
        return "numpy.ma.core._mareconstruct"
    return {"pandas_df.p4.pkl": "pandas.DataFrame", "oob.p5.pkl": "out-of-band"}.get(name)


def line(path):
    name = path.relative_to(HERE).as_posix()
    if reason := refused(path):
        return {"file": name, "refused": reason}
    value = Names(io.BytesIO(path.read_bytes()), encoding="latin1").load()
    return {"file": name, "value": Plain(path).value(value), "arrays": list(arrays(value, ""))}


def articles(count):
    """Articles that share texts in every way that a memo can: keys, a text of all, texts of neighbours and of far ones."""
    shared = "a text that all articles share, " * 3
    places = [f"https://example.org/{i}" for i in range(7)]
    titles = []
    for i in range(count):
        titles.append(f"Title {i} \N{GREEK SMALL LETTER ALPHA}")
        far = titles[i - 1300] if i >= 2300 and i % 50 == 0 else titles[i - 1] if i and i % 10 == 0 else titles[i]
        yield {"id": str(i), "title": far, "url": places[i % 7], "text": shared, "n": np.int64(i), "tags": ["x", i * 300]}


def streams():
    folder = HERE / "streams"
    folder.mkdir(exist_ok=True)
    items = list(articles(2500))
    for protocol in range(6):
        (folder / f"c.p{protocol}.pkl").write_bytes(pickle.dumps(items, protocol))
    out = io.BytesIO()
    pickle._Pickler(out, 2).dump(items)
    (folder / "python.p2.pkl").write_bytes(out.getvalue())
    out = io.BytesIO()
    fast = pickle.Pickler(out, 4)
    fast.fast = True
    fast.dump(items)
    (folder / "fast.p4.pkl").write_bytes(out.getvalue())
    (folder / "optimized.p4.pkl").write_bytes(pickletools.optimize(pickle.dumps(items, 4)))
    (folder / "dict.p4.pkl").write_bytes(pickle.dumps({"total": 2500, "articles": items, "after": items[3]["title"]}, 4))
    out = io.BytesIO()
    one = pickle._Pickler(out, 2)
    one._BATCHSIZE = 1
    one.dump(items)
    (folder / "append.p2.pkl").write_bytes(out.getvalue())
    with open(folder / "items.jsonl", "w") as file:
        for item in items:
            print(json.dumps([item["id"], item["title"], item["url"], item["text"], int(item["n"])]), file=file)


def extras():
    """Values that the other fixtures lack."""
    value = {
        "reversed": np.arange(24, dtype="f4").reshape(2, 3, 4).T,
        "cube": np.arange(24, dtype=">f8").reshape(2, 3, 4),
        "half": np.array([1.5, -2.0, np.inf], dtype="f2"),
        "str": np.str_("caf\u00e9 \U0001f600"),
        "long_str": np.str_("x" * 900 + "\u03b1"),
        "bytes_": np.bytes_(b"ab\xff"),
        "u64": np.uint64(2**64 - 1),
        "u8": np.uint8(200),
        "i16": np.int16(-3),
        "f2": np.float16(0.1),
        "c8": np.complex64(1 + 2j),
        "bool": np.bool_(False),
        "when": np.datetime64("2024-05-06"),
        "structured": np.zeros(2, dtype=[("a", "f4"), ("b", "i8")]),
        "counter": collections.Counter("abca"),
        "ordered": collections.OrderedDict(a=1, b=[2]),
        "deque": collections.deque([1, 2, 3], 5),
        "time": datetime.time(1, 2, 3, 4, tzinfo=datetime.timezone(datetime.timedelta(hours=-3, minutes=-30))),
        "fold": datetime.datetime(2024, 10, 27, 2, 30, fold=1),
        "delta": datetime.timedelta(days=-2, seconds=5, microseconds=7),
        "decimal": decimal.Decimal("-1.50E+3"),
        "third": fractions.Fraction(1, 3),
        "uuid": uuid.UUID(int=2**127 + 1),
        "range": range(5, 1, -2),
        "path": pathlib.PurePosixPath("a/b.c"),
        "big": -(10**300),
        "tuple": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
        "keys": {7: "int", None: "none", (1, "a"): "tuple", 2.5: "float", True: "bool"},
        "text": "a\nb\r\\u0041\x1a\x00 \u00e9\u03b1\U0001f600",
        "long_text": "x" * 3000,
        "floats": [0.1, -0.0, 1e300, float("nan"), float("-inf")],
        "shared": [[1], [1]],
    }
    # Its elements lie in an order that is neither C nor Fortran, which only protocol 5 says.
    permuted = {"permuted": np.arange(24, dtype="f4").reshape(2, 3, 4).transpose(1, 0, 2)}
    (HERE / "odd").mkdir(exist_ok=True)
    (HERE / "odd" / "permuted.p5.pkl").write_bytes(pickle.dumps(permuted, 5))
    value["shared"][1] = value["shared"][0]
    for protocol in range(6):
        (HERE / "containers" / f"extra.p{protocol}.pkl").write_bytes(pickle.dumps(value, protocol))


def main():
    if "--make" in sys.argv:
        streams()
        extras()
    paths = sorted([*HERE.glob("pickle/*/*.pkl"), *HERE.glob("containers/*.pkl")])
    with open(HERE / "golden.jsonl", "w") as file:
        for path in paths:
            try:
                print(json.dumps(line(path)), file=file)
            except Exception as error:
                raise SystemExit(f"{path}: {error!r}")


main()
