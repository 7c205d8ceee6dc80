"""Recommendations: the best items of the whole catalogue for a history of item ids."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import polars as pl
import torch

from lamar.errors import LamarError
from lamar.serving.models import LOADERS, load
from lamar.serving.trained import Trained
from lamar.training import fit

SHOWN = 5  # ids that an error names
RANKED = {"row": pl.Int64, "rank": pl.Int32, "item": pl.Int64, "score": pl.Float32}
OF_USERS = {"user": pl.String, "rank": pl.Int32, "item_id": pl.String, "title": pl.String, "score": pl.Float32}
History = Sequence[str]
"""Item ids, oldest first."""


class Recommender:
    """A trained model and the items it knows, by the ids of the data."""

    def __init__(self, trained: Trained) -> None:
        """Load the model. Raises LamarError when its files do not fit each other."""
        self._trained = trained
        self._model = load(trained)
        self._numbers = {item_id: number for number, item_id in enumerate(trained.items["item_id"])}

    def recommend(
        self,
        histories: Sequence[History],
        k: int,
        *,
        repeat: bool = False,
        first: int = 0,
        seen: Callable[[int], None] = lambda rows: None,
    ) -> pl.DataFrame:
        """The `k` best items for each history, or all when there are fewer; of equal scores the first in the catalogue.

        Columns: row (of `histories`), rank (from 1), item_id, title, score (float32: a count, a logit or a cosine, to
        be compared within one row alone). Items of the history are left out unless `repeat`. `first`: how many
        histories were before these, for errors; `seen` is told how many more rows are done. Raises LamarError naming
        the ids that are unknown, or a row without a history where the model needs one.
        """
        numbers = self._known(histories, first)
        ranked = self._ranked(numbers, k, repeat, seen) if numbers else ()
        table = pl.concat([pl.DataFrame(schema=RANKED), *ranked]).sort("row", "rank")
        named = table.hstack(self._trained.items[table["item"]])
        return named.select("row", "rank", "item_id", "title", "score")

    def _ranked(
        self, histories: list[np.ndarray], k: int, repeat: bool, seen: Callable[[int], None]
    ) -> Iterator[pl.DataFrame]:
        """Yield RANKED, one batch of histories after the other."""
        with torch.inference_mode(), fit.precision(self._trained.run):
            for rows, found in self._model.scores(histories):
                scores = found.cpu().numpy()
                without = [[] if repeat else histories[row] for row in rows]
                items = [best(own, k, known) for own, known in zip(scores, without, strict=True)]
                columns = {
                    "row": np.repeat(rows, [len(own) for own in items]),
                    "rank": np.concatenate([np.arange(1, len(own) + 1) for own in items]),
                    "item": np.concatenate(items),
                    "score": np.concatenate([own[chosen] for own, chosen in zip(scores, items, strict=True)]),
                }
                yield pl.DataFrame(columns, schema_overrides=RANKED)
                seen(len(rows))

    def _known(self, histories: Sequence[History], first: int) -> list[np.ndarray]:
        """Histories as item numbers."""
        unknown = dict.fromkeys(item for history in histories for item in history if item not in self._numbers)
        if unknown:
            named = ", ".join(map(repr, list(unknown)[:SHOWN])) + (" ..." if len(unknown) > SHOWN else "")
            like = ", ".join(map(repr, list(self._numbers)[:3]))
            raise LamarError(f"{len(unknown)} unknown item id(s): {named}; the catalogue's are like {like}")
        empty = next((row for row, history in enumerate(histories) if not history), None)
        if empty is not None and not LOADERS[self._trained.run.model].no_history:
            raise LamarError(
                f"history {first + empty + 1} is empty, of which {self._trained.name} has learned nothing; "
                "name an item, or recommend by popularity"
            )
        return [np.array([self._numbers[item] for item in history], np.int64) for history in histories]


def best(scores: np.ndarray, k: int, without: Sequence[int] | np.ndarray) -> np.ndarray:
    """The places of the `k` highest scores (items,), highest first, of equals the first; none of `without`."""
    kept = np.delete(np.arange(len(scores)), without)
    k = min(k, len(kept))
    if not k:
        return kept[:0]
    worst = np.partition(scores[kept], -k)[-k]
    candidates = kept[scores[kept] >= worst]
    return candidates[np.argsort(-scores[candidates], kind="stable")][:k]
