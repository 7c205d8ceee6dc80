"""The ranks table: where each user's target landed among the candidates. Every number is computed from it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from lamar.errors import LamarError
from lamar.files import write_parquet

if TYPE_CHECKING:
    from torch import Tensor

BROKEN = -1
SCHEMA = dict.fromkeys(("user", "item", "seed", "greater", "equal", "candidates"), pl.Int32)


def rank_scores(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the items scored higher than each user's target, and the others scored exactly the same.

    scores: (users, items) float; targets: (users,) int, positions in 0..items-1. Returns greater and equal, each
    (users,) int32. Raises LamarError for a NaN score.
    """
    import torch

    greater, equal = count(torch.from_numpy(scores), torch.from_numpy(targets))
    refuse_nan(greater.numpy())
    return greater.numpy(), equal.numpy()


def count(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """As `rank_scores`, on the device of the scores and without waiting for it; for a NaN, greater is BROKEN.

    Compared with anything a NaN is false, which would rank the target first (recformer-notes item 19).
    """
    own = scores.gather(1, targets[:, None].long())
    greater, equal = ((scores > own).sum(1).int(), (scores == own).sum(1).int() - 1)
    return greater.masked_fill(scores.isnan().any(1), BROKEN), equal


def refuse_nan(greater: np.ndarray) -> None:
    """Raise LamarError when `count` met a NaN: greater is (users,)."""
    broken = greater == BROKEN
    if broken.any():
        raise LamarError(f"scores of user row {broken.argmax()} contain NaN: lower the learning rate of this model")


def write(path: Path, ranks: pl.DataFrame) -> None:
    """Write a ranks table, sorted by seed and user so that equal tables are equal files."""
    write_parquet(path, ranks.sort("seed", "user"))


def read(path: Path) -> pl.DataFrame:
    """Read a ranks table and check it. Raises LamarError naming the file and what is wrong with it."""
    try:
        ranks = pl.read_parquet(path)
    except FileNotFoundError:
        raise LamarError(f"{path}: no such file; train this run first (dvc repro)") from None
    except pl.exceptions.PolarsError as error:
        raise LamarError(f"{path}: not a parquet table ({str(error).splitlines()[0]}); train this run again") from None
    fault = _fault(ranks)
    if fault:
        raise LamarError(f"{path}: {fault}; train this run again")
    return ranks


def _fault(ranks: pl.DataFrame) -> str | None:
    """What makes a table no ranks table, or None."""
    if dict(ranks.schema) != SCHEMA:
        return f"columns are {', '.join(f'{n} {t}' for n, t in ranks.schema.items())}, not {', '.join(SCHEMA)} (Int32)"
    if ranks.is_empty():
        return "no rows"
    if sum(ranks.null_count().row(0)):
        return "null values"
    placed = (pl.col("greater") >= 0) & (pl.col("equal") >= 0) & (pl.col("candidates") >= 2)
    outside = ranks.filter(~(placed & (pl.col("greater") + pl.col("equal") < pl.col("candidates"))))
    if not outside.is_empty():
        return f"user {outside['user'][0]} is ranked outside its candidates"
    if ranks.select("user", "seed").is_duplicated().any():
        return "a user is ranked twice under one seed"
    if ranks.group_by("seed").len()["len"].n_unique() > 1:
        return "the seeds rank different numbers of users"
    return None
