"""Users put into groups by what their test target is like: where signals could help, and where not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

OTHERS = "others"
NONE = "none"  # a target without a category


@dataclass(frozen=True)
class Group:
    """One group. by: what divides the users (popularity, history, ...); members: (users,) bool."""

    by: str
    name: str
    members: np.ndarray


def training_counts(interactions: pl.DataFrame, split: pl.DataFrame, items: int) -> np.ndarray:
    """How often each item occurs in the training sequences, (items,): what `popularity` counts, too."""
    joined = interactions.join(split.select("user", "train"), on="user")
    return np.bincount(joined.filter(pl.col("position") < pl.col("train"))["item"], minlength=items)


def novelty(vectors: pl.DataFrame) -> np.ndarray:
    """Cosine distance between each signal and its item's own text, (rows,): 0 repeats it.

    vectors: `signal` and `item`, unit vectors, as lamar.analysis.embeddings writes them.
    """
    signal, item = (vectors[name].to_numpy() for name in ("signal", "item"))
    return 1 - (signal * item).sum(axis=1)


def ranges(by: str, values: np.ndarray, edges: Sequence[int]) -> list[Group]:
    """Groups of whole numbers: up to edges[0], up to edges[1], ..., above the last. values: (users,)."""
    place = np.searchsorted(edges, values, side="left")
    return [Group(by, name, place == number) for number, name in enumerate(range_names(edges))]


def range_names(edges: Sequence[int]) -> list[str]:
    """Of the groups of `ranges`: 0, 1–5, 6–20, > 20."""
    starts = [0, *(edge + 1 for edge in edges)]
    return [_range(start, end) for start, end in zip(starts, edges, strict=False)] + [f"> {edges[-1]}"]


def _range(start: int, end: int) -> str:
    return str(end) if start == end else f"{start}–{end}"


def quantiles(by: str, values: np.ndarray, parts: int) -> list[Group]:
    """`parts` groups of nearly equal size, named by their ends. values: (users,), NaN where there is none."""
    known = ~np.isnan(values)
    if not known.any():
        return []
    cuts = np.quantile(values[known], np.linspace(0, 1, parts + 1))
    place = np.searchsorted(cuts[1:-1], values, side="right")
    names = [f"{low:.2f}–{high:.2f}" for low, high in zip(cuts, cuts[1:], strict=False)]
    return [Group(by, name, known & (place == number)) for number, name in enumerate(names)]


def topics(by: str, wanted: Sequence[list[str]], most: int) -> list[Group]:
    """The `most` frequent topics of the users' targets, then the others; a target may have several topics."""
    counts = Counter(topic for topics_ in wanted for topic in topics_)
    frequent = [topic for topic, _ in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:most]]
    groups = [Group(by, topic, np.array([topic in topics_ for topics_ in wanted])) for topic in frequent]
    rest = np.array([any(topic not in frequent for topic in topics_) for topics_ in wanted])
    return [*groups, Group(by, OTHERS, rest)] if rest.any() else groups


def _every_piece(texts: Sequence[str]) -> list[list[str]]:
    """Genres: a film has several."""
    return [text.split(", ") if text else [NONE] for text in texts]


def _first_distinctive_piece(texts: Sequence[str]) -> list[list[str]]:
    """Categories, a path from the general to the special: the first step that most items do not share.

    Steps are joined by ', ' and may hold one ("Test, Measure & Inspect"): a step that is always followed by the same
    next one is read as one with it.
    """
    paths = [text.split(", ") if text else [] for text in texts]
    shared = {
        piece for piece, count in Counter(p for path in paths for p in set(path)).items() if 2 * count > len(texts)
    }
    paths = [[piece for piece in path if piece not in shared] for path in paths]
    followers: dict[str, set[str]] = {}
    for path in paths:
        if path:
            followers.setdefault(path[0], set()).add(path[1] if len(path) > 1 else "")

    def name(path: list[str]) -> str:
        (only, *others) = followers[path[0]]
        return path[0] if others or not only else f"{path[0]}, {only}"

    return [[name(path)] if path else [NONE] for path in paths]


# The attributes that sort items into topics, and how their texts are read.
TOPICS: dict[str, Callable[[Sequence[str]], list[list[str]]]] = {
    "category": _first_distinctive_piece,
    "genre": _every_piece,
}
