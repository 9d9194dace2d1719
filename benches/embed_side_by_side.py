#!/usr/bin/env python3
"""Texts per second: embstore beside sentence-transformers, fastembed and Python's onnxruntime, in turns, on the same texts.

The texts are real: glosses of WordNet (Debian's wordnet-base) and Python's documentation strings, in equal numbers, of
very different lengths. embstore is timed as a whole process, from start to the Parquet file on disk; of the peers only the
encoding is timed, with the tokens, without imports and without loading the model. Every run's vectors are compared with
those of sentence-transformers.

    python -m venv peers && peers/bin/pip install sentence-transformers==5.1.0 torch==2.8.0 'transformers<5' \\
        fastembed==0.7.3 onnxruntime==1.23.2 pyarrow
    cargo build --release && scripts/fetch_model.sh && python scripts/export_onnx.py
    peers/bin/python benches/embed_side_by_side.py --texts 2000 --threads 1 2
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(os.environ.get("EMBSTORE_BIN", ROOT / "target" / "release" / "embstore")).resolve()
sys.path.insert(0, str(ROOT / "scripts"))

from real_texts import mixed  # noqa: E402  (it lies among the scripts, which are no package)


# What a peer does, each in a process of its own: reads texts, encodes once to warm up and once for the clock.
PEERS = {
    "sentence-transformers": """
import torch; torch.set_num_threads(threads)
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(folder, device="cpu")
encode = lambda texts: model.encode(texts, batch_size=32, normalize_embeddings=True)
""",
    "fastembed": """
from fastembed import TextEmbedding
model = TextEmbedding("sentence-transformers/all-MiniLM-L6-v2", specific_model_path=onnx, threads=threads)
model.model.tokenizer.enable_truncation(256)
encode = lambda texts: np.array(list(model.embed(texts, batch_size=32)))
""",
    "onnxruntime": """
import onnxruntime as ort
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(onnx + "/tokenizer.json"); tokenizer.enable_truncation(256); tokenizer.enable_padding()
options = ort.SessionOptions(); options.intra_op_num_threads = threads
session = ort.InferenceSession(onnx + "/model.onnx", options, providers=["CPUExecutionProvider"])
def encode(texts):
    order = sorted(range(len(texts)), key=lambda i: len(texts[i])); out = np.empty((len(texts), 384), np.float32)
    for start in range(0, len(texts), 32):
        part = order[start : start + 32]; coded = tokenizer.encode_batch([texts[i] for i in part])
        ids, mask = np.array([c.ids for c in coded]), np.array([c.attention_mask for c in coded])
        hidden = session.run(None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})[0]
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1)[:, None]
        out[part] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return out
""",
}
PEER = """
import json, sys, time, numpy as np
folder, onnx, texts, out, threads = sys.argv[1:5] + [int(sys.argv[5])]
texts = json.load(open(texts))
{load}
encode(texts[:64])
began = time.perf_counter(); vectors = np.asarray(encode(texts), np.float32); seconds = time.perf_counter() - began
np.save(out, vectors); print(seconds)
"""


def cores(count: int):
    """Both sides get the same cores."""
    available = sorted(os.sched_getaffinity(0))
    return lambda: os.sched_setaffinity(0, available[:count])


def run_peer(name: str, folder: Path, args, threads: int) -> tuple[float, np.ndarray]:
    out = folder / "peer.npy"
    code = PEER.format(load=PEERS[name])
    command = [sys.executable, "-W", "ignore", "-c", code, args.model, args.onnx, folder / "texts.json", out, threads]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, preexec_fn=cores(threads))
    if done.returncode:
        raise SystemExit(f"{name}: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1]), np.load(out)


def run_embstore(engine: str, folder: Path, args, threads: int) -> tuple[float, np.ndarray]:
    out = folder / "out.parquet"
    model = args.model if engine == "builtin" else args.onnx
    command = [BIN, "embed", "work", "--model", model, "--engine", engine, "--device", "cpu", "--threads", threads]
    command += ["--input", folder / "in.parquet", "--output", out, "--force", "--quiet"]
    began = time.perf_counter()
    subprocess.run(list(map(str, command)), check=True, preexec_fn=cores(threads))
    seconds = time.perf_counter() - began
    table = pq.read_table(out)
    names = [name for name in table.schema.names if re.fullmatch(r"emb_\d+", name)]
    return seconds, np.stack([table[name].to_numpy() for name in names], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model", type=Path, default=ROOT / "models" / "minilm")
    parser.add_argument("--onnx", type=Path, default=ROOT / "models" / "onnx" / "minilm")
    parser.add_argument("--without", nargs="*", default=[], help="leave these out")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="embed"))
    texts = mixed(args.texts)
    (folder / "texts.json").write_text(json.dumps(texts))
    pq.write_table(pa.table({"text": texts}), folder / "in.parquet")
    runs = {"embstore builtin": lambda t: run_embstore("builtin", folder, args, t)}
    runs["embstore onnx"] = lambda t: run_embstore("onnx", folder, args, t)
    runs |= {name: (lambda t, name=name: run_peer(name, folder, args, t)) for name in PEERS}
    runs = {name: run for name, run in runs.items() if name not in args.without}
    for threads in args.threads:
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        vectors = {}
        for _ in range(args.reps):
            for name, run in runs.items():
                took, vectors[name] = run(threads)
                seconds[name].append(took)
        reference = vectors.get("sentence-transformers", vectors["embstore builtin"])
        ours = seconds["embstore builtin"]
        print(f"\n{args.texts} texts, {threads} core(s), {args.reps} runs in turns")
        for name, took in seconds.items():
            cosine = (vectors[name] * reference).sum(1).min()
            ratio = statistics.median(took) / statistics.median(ours)
            speeds = ", ".join(f"{args.texts / t:.1f}" for t in took)
            print(f"  {name:22} {speeds} texts/s; {ratio:.2f}× the time of builtin; least cosine {cosine:.7f}")


if __name__ == "__main__":
    main()
