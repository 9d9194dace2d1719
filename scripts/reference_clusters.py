"""Make the golden files of embstore-cluster: what python's hdbscan and scikit-learn say of points in many shapes.

The points come from a seeded generator that uses numpy alone, are rounded to float32 and stored, so that the tests read
what the references read. Run it in a virtual environment of its own:

    python3 -m venv /tmp/reference && /tmp/reference/bin/pip install numpy==2.2.6 scipy==1.17.1 \\
        scikit-learn==1.9.1 hdbscan==0.8.44
    /tmp/reference/bin/python scripts/reference_clusters.py

Very many edges of a minimum spanning tree of mutual reachability weigh the same, and which of them are taken first
changes what falls out of which cluster; hdbscan leaves that to chance (to numpy's sort, which differs between
processors). So every case is computed twice: as hdbscan and scikit-learn do it, which the tests compare where groups are
far apart; and by hdbscan's own functions from a tree whose edges are in the order that embstore-cluster documents, which
they compare to the last point.

``cases.tsv`` has a line per case: its parameters, the weight of hdbscan's tree, and from the ordered tree the persistence
of each cluster. Beside it lie ``<points>.f32`` (row-major) and, per case, ``<case>.bin``: for n points, n labels each
from the ordered tree, of hdbscan and of scikit-learn (int16), from the ordered tree n probabilities and n outlier scores
(float32), the number of exemplars of each cluster and the exemplars (int16). Everything is little-endian.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path

import numpy as np
from hdbscan import HDBSCAN
from hdbscan._hdbscan_linkage import label
from hdbscan._hdbscan_tree import outlier_scores
from hdbscan.hdbscan_ import _tree_to_labels
from hdbscan.plots import CondensedTree
from hdbscan.prediction import PredictionData
from sklearn.cluster import HDBSCAN as Peer
from sklearn.metrics import adjusted_rand_score

PINS = {"numpy": "2.2.6", "scipy": "1.17.1", "scikit-learn": "1.9.1", "hdbscan": "0.8.44"}
GOLDEN = Path(__file__).parent.parent / "cluster" / "tests" / "golden"


def blobs(rng: np.random.Generator, dims: int, sizes: list[int], spreads: list[float], far: float) -> np.ndarray:
    """Gaussian groups around centres that lie at least so far from each other."""
    centres: list[np.ndarray] = []
    while len(centres) < len(sizes):
        centre = rng.uniform(-far, far, dims) * 2
        if all(np.linalg.norm(centre - other) > far for other in centres):
            centres.append(centre)
    return np.vstack([rng.normal(c, s, (n, dims)) for c, n, s in zip(centres, sizes, spreads, strict=True)])


def ring(rng: np.random.Generator, n: int, radius: float, width: float) -> np.ndarray:
    """A noisy circle."""
    angle = rng.uniform(0, 2 * np.pi, n)
    return np.c_[np.cos(angle), np.sin(angle)] * (radius + rng.normal(0, width, n))[:, None]


def shapes() -> dict[str, np.ndarray]:
    """The points of every name."""
    rng = np.random.default_rng(20)
    arc = rng.uniform(0, np.pi, 150)
    moons = np.vstack([np.c_[np.cos(arc), np.sin(arc)], np.c_[1 - np.cos(arc), 0.4 - np.sin(arc)]])
    turn = rng.uniform(0.5, 3.5, 200) * np.pi
    spiral = np.c_[turn * np.cos(turn), turn * np.sin(turn)]
    even = blobs(rng, 2, [60] * 5, [0.4] * 5, 5)
    copied = even.copy()
    copied[rng.choice(len(even), 40, replace=False)] = copied[rng.choice(len(even), 40, replace=False)]
    sphere = blobs(rng, 12, [50, 80, 60, 40], [0.25] * 4, 1.5) * rng.uniform(0.5, 4, (230, 1))
    points = {
        "even": even,
        "densities": blobs(rng, 2, [100, 100, 100], [0.1, 0.5, 1.5], 10),
        "sizes": blobs(rng, 2, [12, 30, 90, 200], [0.3] * 4, 5),
        "moons": moons + rng.normal(0, 0.05, moons.shape),
        "rings": np.vstack([ring(rng, 100, 1, 0.05), ring(rng, 200, 4, 0.1)]),
        "spiral": np.vstack([spiral, -spiral]) + rng.normal(0, 0.2, (400, 2)),
        "stretched": blobs(rng, 2, [100] * 3, [0.4] * 3, 6) @ np.array([[1.5, 1.1], [0.2, 0.4]]),
        "noisy": np.vstack([blobs(rng, 2, [80] * 4, [0.25] * 4, 4), rng.uniform(-12, 12, (100, 2))]),
        "nested": np.vstack([rng.normal(0, 2, (150, 2)), rng.normal(1, 0.1, (60, 2)), rng.normal(-2, 0.1, (60, 2))]),
        "line": np.sort(np.concatenate([rng.normal(c, 0.3, 60) for c in (0, 4, 5, 12)]))[:, None],
        "wide": blobs(rng, 32, [50, 40, 60, 30], [0.5, 0.7, 0.6, 0.4], 3),
        "noise": rng.uniform(0, 1, (250, 3)),
        "one": rng.normal(0, 1, (200, 2)),
        "copies": copied,
        "sphere": sphere,
    }
    # The order of rows is no help.
    return {name: rng.permutation(rows).astype(np.float32) for name, rows in points.items()}


def cases() -> list[dict]:
    """Points and parameters."""
    plain = {"metric": "euclidean", "min_cluster_size": 5, "min_samples": None, "cluster_selection_method": "eom"}
    plain |= {"cluster_selection_epsilon": 0.0, "max_cluster_size": 0, "allow_single_cluster": False}
    found = []
    for name in shapes():
        for change in [{}, {"min_cluster_size": 15, "cluster_selection_method": "leaf"}]:
            metric = "cosine" if name == "sphere" else "euclidean"
            found.append({"points": name, **plain, "metric": metric, **change})
    for name, change in [
        ("even", {"min_cluster_size": 10, "min_samples": 3}),
        ("noisy", {"min_cluster_size": 8, "min_samples": 1}),
        ("noisy", {"min_cluster_size": 20, "min_samples": 40}),
        ("noisy", {"cluster_selection_epsilon": 2.0}),
        ("noisy", {"cluster_selection_method": "leaf", "cluster_selection_epsilon": 1.5}),
        ("nested", {"max_cluster_size": 70, "min_cluster_size": 6}),
        ("nested", {"cluster_selection_epsilon": 0.5, "allow_single_cluster": True}),
        ("densities", {"cluster_selection_epsilon": 0.2, "max_cluster_size": 150}),
        ("one", {"allow_single_cluster": True, "min_cluster_size": 25}),
        ("one", {"allow_single_cluster": True, "min_cluster_size": 25, "cluster_selection_epsilon": 0.5}),
        ("one", {"allow_single_cluster": True, "cluster_selection_method": "leaf", "min_cluster_size": 80}),
        ("one", {"allow_single_cluster": True, "max_cluster_size": 60}),
        ("wide", {"metric": "cosine", "min_cluster_size": 8}),
    ]:
        found.append({"points": name, **plain, **change})
    return found


# Groups that are far from each other, so that every way to break ties finds them.
SEPARATED = {"even", "densities", "sizes", "moons", "rings", "stretched", "line", "wide", "copies", "sphere"}


def main() -> None:
    """Write all golden files."""
    for package, pin in PINS.items():
        if version(package) != pin:
            raise SystemExit(f"{package} is {version(package)}, and the golden files are of {pin}")
    warnings.filterwarnings("ignore")
    GOLDEN.mkdir(parents=True, exist_ok=True)
    points = shapes()
    for name, rows in points.items():
        (GOLDEN / f"{name}.f32").write_bytes(rows.astype("<f4").tobytes())
    columns = list(cases()[0])
    lines = ["\t".join(["case", "dims", *columns, "separated", "tree_weight", "persistence"])]
    for number, case in enumerate(cases()):
        rows = points[case["points"]].astype(np.float64)
        keywords = {key: value for key, value in case.items() if key != "points"}
        algorithm = "generic" if case["metric"] == "cosine" else "prims_kdtree"
        own = HDBSCAN(**keywords, algorithm=algorithm, gen_min_span_tree=True).fit(rows)
        weight = own.minimum_spanning_tree_.to_numpy()[:, 2].sum()
        # scikit-learn counts the point itself among its samples.
        samples = case["min_samples"] or case["min_cluster_size"]
        theirs = {"max_cluster_size": case["max_cluster_size"] or None, "min_samples": samples + 1, "copy": True}
        peer = Peer(**(keywords | theirs)).fit(rows)

        linkage = label(ordered_tree(rows, case["metric"], samples))
        choice = {key: value for key, value in keywords.items() if key not in {"metric", "min_samples"}}
        labels, probabilities, persistence, condensed, _ = _tree_to_labels(rows, linkage, **choice)
        exemplars = exemplars_of(CondensedTree(condensed, labels), labels)
        parts = [labels.astype("<i2"), own.labels_.astype("<i2"), peer.labels_.astype("<i2")]
        parts += [probabilities.astype("<f4"), outlier_scores(condensed).astype("<f4")]
        parts += [np.array([len(e) for e in exemplars], "<i2"), np.concatenate([[], *exemplars]).astype("<i2")]
        (GOLDEN / f"{number:02}.bin").write_bytes(b"".join(part.tobytes() for part in parts))

        plain = case["cluster_selection_method"] == "eom" and case["min_cluster_size"] == 5
        separated = case["points"] in SEPARATED and plain
        values = [str(case[column]) for column in columns]
        # Where all points may be one cluster, it can end up without any.
        persistent = ",".join(repr(float(value)) for value in persistence[: labels.max() + 1])
        shape = [f"{number:02}", str(rows.shape[1])]
        lines.append("\t".join([*shape, *values, str(separated), repr(float(weight)), persistent]))
        agreements = [adjusted_rand_score(labels, other.labels_) for other in (own, peer)]
        counts = f"{labels.max() + 1} clusters, {(labels < 0).sum()} noise"
        print(f"{number:02} {case['points']}: {counts}, agrees to {agreements[0]:.4f} and {agreements[1]:.4f}")
    (GOLDEN / "cases.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def ordered_tree(rows: np.ndarray, metric: str, samples: int) -> np.ndarray:
    """The minimum spanning tree, edges by weight, then length (identical rows first), then lower and higher row.

    Each edge leads away from point 0, as in the tree that Prim's algorithm finds from there.
    """
    n = len(rows)
    if metric == "cosine":
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    lengths = ((rows[:, None] - rows) ** 2).sum(axis=2)
    lengths = lengths / 2 if metric == "cosine" else np.sqrt(lengths)
    cores = np.partition(lengths, samples, axis=1)[:, samples]
    a, b = np.triu_indices(n, 1)
    length = lengths[a, b]
    weight = np.maximum(length, np.maximum(cores[a], cores[b]))
    differ = (rows[a] != rows[b]).any(axis=1)
    group = np.arange(n)
    ways: list[list[int]] = [[] for _ in range(n)]
    edges = []
    for edge in np.lexsort((b, a, differ, length, weight)):
        one, other = group[a[edge]], group[b[edge]]
        if one != other:
            group[group == other] = one
            edges.append(edge)
            ways[a[edge]].append(b[edge])
            ways[b[edge]].append(a[edge])
    above = np.full(n, -1)
    waiting = [0]
    while waiting:
        point = waiting.pop()
        for other in ways[point]:
            if other != above[point]:
                above[other] = point
                waiting.append(other)
    edges = np.array(edges)
    near = np.where(above[b[edges]] == a[edges], a[edges], b[edges])
    return np.c_[near, a[edges] + b[edges] - near, weight[edges]].astype(np.float64)


def exemplars_of(condensed: CondensedTree, labels: np.ndarray) -> list[np.ndarray]:
    """The numbers of the exemplars of each cluster, ascending."""
    if labels.max() < 0:
        return []
    # Points that hold nothing but their number, so that numbers come back.
    numbers = np.arange(len(labels), dtype=np.float64)[:, None]
    found = PredictionData(numbers, condensed, 1, tree_type="kdtree", metric="euclidean").exemplars
    return [np.sort(cluster[:, 0]).astype(int) for cluster in found]


if __name__ == "__main__":
    main()
