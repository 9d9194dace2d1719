#!/usr/bin/env python3
"""The vectors that the encoder's tests compare with, from sentence-transformers and transformers on the processor.

Reads encoder/tests/golden/texts.json (glosses of WordNet 3.0, docstrings of Python, and texts that are hard to tokenize) and
writes beside it

  minilm.json, minilm.npy   all-MiniLM-L6-v2: token ids; vectors as float32 [texts, 384]
  tiny/                     networks of a few kilobytes with random weights, one a family, in the layout of transformers
  tiny.json                 their vectors for every pooling

The tests do not run this. To run it again, about 5 GB of packages:

  scripts/fetch_model.sh
  python3 -m venv /tmp/reference
  /tmp/reference/bin/pip install sentence-transformers==5.1.0 transformers==4.55.4 torch==2.8.0 tokenizers==0.21.4 numpy==2.4.6
  /tmp/reference/bin/python scripts/reference_embeddings.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Pooling
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "encoder/tests/golden"
TINY_TEXTS = ["", "a", "bad cab", "the cat sat on a mat, and that is that.", "abcdefgh " * 20]
SIZES = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=40, max_position_embeddings=40)


def minilm(texts):
    model = SentenceTransformer(str(ROOT / "models/minilm"), device="cpu")
    ids = []
    for text in texts:
        tokens = model.tokenize([text])
        ids.append(tokens["input_ids"][0][tokens["attention_mask"][0] == 1].tolist())
    vectors = np.vstack([model.encode([text], show_progress_bar=False) for text in texts]).astype(np.float32)
    (GOLDEN / "minilm.json").write_text(json.dumps(ids) + "\n")
    np.save(GOLDEN / "minilm.npy", vectors)


def tiny_tokenizer(specials, first, last):
    """WordPiece over letters; `specials` are the first ids of the vocabulary."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*specials, *letters, *("##" + letter for letter in letters), ".", ","]
    vocabulary = {word: index for index, word in enumerate(words)}
    unknown = "[UNK]" if "[UNK]" in vocabulary else "<unk>"
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(name, vocabulary[name]) for name in (first, last)]
    )
    return tokenizer


def tiny():
    torch.manual_seed(5)
    bert = tiny_tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "[CLS]", "[SEP]")
    roberta = tiny_tokenizer(["<s>", "<pad>", "</s>", "<unk>"], "<s>", "</s>")
    size = bert.get_vocab_size()
    networks = {
        "bert": (bert, BertModel(BertConfig(vocab_size=size, hidden_act="gelu_new", initializer_range=0.3, **SIZES))),
        "bert-relu": (bert, BertModel(BertConfig(vocab_size=size, hidden_act="relu", initializer_range=0.3, **SIZES))),
        "roberta": (
            roberta,
            RobertaModel(RobertaConfig(vocab_size=size, type_vocab_size=1, initializer_range=0.3, **SIZES)),
        ),
    }
    cases = []
    for name, (tokenizer, network) in networks.items():
        network.eval()
        # Biases and norms start as zeros and ones, which would hide their mistakes.
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.data.add_(torch.randn_like(parameter) * 0.2)
        folder = GOLDEN / "tiny" / name
        network.save_pretrained(folder)
        tokenizer.save(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(32)
        for mode in ("mean", "cls", "max"):
            pooling = Pooling(SIZES["hidden_size"], pooling_mode=mode)
            for text in TINY_TEXTS:
                ids = tokenizer.encode(text).ids
                with torch.no_grad():
                    tokens = network(input_ids=torch.tensor([ids])).last_hidden_state
                features = {"token_embeddings": tokens, "attention_mask": torch.ones(1, len(ids), dtype=torch.int64)}
                vector = pooling(features)["sentence_embedding"][0]
                cases.append({"model": name, "pooling": mode, "text": text, "ids": ids, "vector": vector.tolist()})
    (GOLDEN / "tiny.json").write_text("[\n" + ",\n".join(json.dumps(case) for case in cases) + "\n]\n")


torch.set_num_threads(1)
minilm(json.loads((GOLDEN / "texts.json").read_text()))
tiny()
