"""Time and memory of the similarity counts of 40,000 signals, and the ratio to scikit-learn's whole matrix.

The reference, `sklearn.metrics.pairwise.cosine_similarity` and a sum for each threshold, holds rows x rows numbers at
once, so it is timed on fewer rows; the counts of both are compared. Vectors are random, which costs the same as real
ones.

    python benchmarks/diversity.py
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np

from lamar import params
from lamar.analysis.diversity import alike
from lamar.console import say, user_errors
from lamar.files import write_json


def unit_vectors(rows: int, dimensions: int) -> np.ndarray:
    """(rows, dimensions) float32 of length 1, with a common direction, as texts of one catalogue have."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((rows, dimensions), dtype=np.float32) + rng.standard_normal(dimensions, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def reference(vectors: np.ndarray, thresholds: list[float]) -> np.ndarray:
    """The same counts from the whole matrix."""
    from sklearn.metrics.pairwise import cosine_similarity

    similarities = cosine_similarity(vectors)
    np.fill_diagonal(similarities, -1)
    return np.stack([(similarities >= threshold).sum(axis=1) for threshold in thresholds])


Count = Callable[[np.ndarray, list[float]], np.ndarray]


def timed(count: Count, vectors: np.ndarray, thresholds: list[float]) -> tuple[np.ndarray, float, float]:
    """The counts, the seconds they took, and the seconds of all cores together: what a busy machine does not change."""
    started, working = time.perf_counter(), time.process_time()
    counts = count(vectors, thresholds)
    return counts, time.perf_counter() - started, time.process_time() - working


@click.command()
@click.option("--rows", default=40_000, show_default=True)
@click.option("--reference-rows", default=10_000, show_default=True)
@user_errors
def main(rows: int, reference_rows: int) -> None:
    """Write benchmarks/results/diversity.json."""
    thresholds = params.load().diversity.thresholds
    vectors = unit_vectors(rows, 384)
    _, seconds, core_seconds = timed(alike, vectors, thresholds)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # before the reference needs more
    fewer = vectors[:reference_rows]
    ours, _, fast = timed(alike, fewer, thresholds)
    theirs, _, slow = timed(reference, fewer, thresholds)
    result = {
        "rows": rows,
        "dimensions": vectors.shape[1],
        "seconds": round(seconds, 1),
        "core_seconds": round(core_seconds, 1),
        "peak_gib": round(peak, 2),
        "reference_rows": reference_rows,
        "core_seconds_on_reference_rows": round(fast, 2),
        "reference_core_seconds": round(slow, 2),
        "ratio": round(slow / fast, 2),
        "different_counts": int((ours != theirs).sum()),
    }
    write_json(Path("benchmarks/results/diversity.json"), result)
    say(str(result))


if __name__ == "__main__":
    main()
