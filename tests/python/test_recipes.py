"""The recipes of the README, run as they stand there."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys

import pytest
from harness import ROOT, articles, dump, matrix, succeeds, write_job

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("\n## Recipes\n")[1].split("\n## ")[0]
RECIPES = re.findall(r"```python\n(.*?)```", SECTION, flags=re.S)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipes")
    write_job(folder / "in", matrix(1000, 32))
    dump(folder / "w.pkl", articles(1000))
    succeeds("merge", folder / "in", "-o", folder / "wikipedia.npy", "--articles", folder / "w.pkl")
    for format in ("zarr", "parquet"):
        succeeds("export", folder / "wikipedia.npy", "--format", format)
    return folder


def test_there_are_recipes():
    assert len(RECIPES) >= 8


@pytest.mark.skipif(sys.version_info < (3, 11), reason="platform: the newest of these libraries need Python 3.11")
@pytest.mark.parametrize("code", RECIPES, ids=lambda code: "-".join(re.findall(r"^(?:import|from) (\w+)", code, re.M)))
def test_a_recipe(stores, code):
    if "import torch" in code and importlib.util.find_spec("torch") is None:
        pytest.skip("platform: PyTorch is not installed; it takes gigabytes, so the tests do not install it")
    done = subprocess.run([sys.executable, "-c", code], cwd=stores, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or (stores / "map.npy").exists()
