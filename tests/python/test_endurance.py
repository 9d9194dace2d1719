"""A short run of scripts/endurance.py: workers are killed in the midst of jobs, the server is restarted, nothing is lost."""

from __future__ import annotations

import random

from embedding import golden
from endurance import endure


def test_nothing_is_lost_when_workers_and_the_server_are_killed(tmp_path):
    random.seed(0)
    texts = [text for text in golden()[0] if text]
    told = endure(tmp_path, jobs=24, rows=120, workers=2, kills=3, restarts=1, lease="2s", texts=texts)
    assert (told["hit"], told["restarts"]) == (3, 1) and told["worst"] < 1e-5
