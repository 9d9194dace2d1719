"""Real texts of very different lengths: glosses of WordNet, and Python's own documentation strings."""

from __future__ import annotations

import inspect
import pydoc
import random
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

WORDNET = Path("/usr/share/wordnet")


def glosses() -> list[str]:
    """The definitions of WordNet, from Debian's wordnet-base."""
    found = {}
    for part in ("noun", "verb", "adj", "adv"):
        for line in (WORDNET / f"data.{part}").read_text().splitlines():
            if not line.startswith("  ") and "|" in line:
                found[line.rpartition("|")[2].strip()] = None
    return list(found)


def docstrings() -> list[str]:
    """The documentation strings of the standard library, of a word to some pages."""
    found = {}
    with warnings.catch_warnings():
        # Some members say of themselves that they are old.
        warnings.simplefilter("ignore", DeprecationWarning)
        for text in members_docs():
            found[text] = None
    return [text for text in found if text]


def members_docs() -> Iterator[str]:
    """The documentation string of whatever can be called in the standard library."""
    for name in sorted(sys.stdlib_module_names):
        if name.startswith("_") or name in ("antigravity", "this"):
            continue
        try:
            module = pydoc.safeimport(name)
        except Exception:
            continue
        for _, member in inspect.getmembers(module, callable) if module else []:
            yield inspect.getdoc(member) or ""


def mixed(count: int, seed: int = 0) -> list[str]:
    """Both in equal numbers, in no order."""
    rng = random.Random(seed)
    chosen = rng.sample(glosses(), count // 2) + rng.sample(docstrings(), count - count // 2)
    rng.shuffle(chosen)
    return chosen
