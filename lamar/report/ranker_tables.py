"""The tables of LLMs that rank pools of candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lamar.report.rankers import SHOWN, PoolResults, Ranked
from lamar.report.text import Table
from lamar.report.words import mean

if TYPE_CHECKING:
    from lamar.report.chapter import Chapter
    from lamar.report.falling import Falling

METRICS_SHOWN = [name.upper().replace("RECALL", "Recall") for name in SHOWN]


def rankers_tables(chapter: Chapter) -> list[Table]:
    """How NDCG@10 falls with more candidates, then for each kind of pools its results and its checks."""
    pools = [table(chapter, one) for one in chapter.rankers for table in (pool_table, checks_table)]
    return [*falling_table(chapter), *pools]


def falling_table(chapter: Chapter) -> list[Table]:
    """NDCG@10 of every run over the sizes of pools of random candidates, on the same users with the same seeds."""
    chance = {pools.candidates: pools.chance for pools in chapter.rankers if pools.chance}
    if not chapter.falling:
        return []
    sizes = sorted({size for one in chapter.falling for size in one.metrics})
    rows = [_falling_row(one, sizes) for one in chapter.falling]
    rows += [["chance", *(f"{chance[size]['ndcg@10']:.4f}" if size in chance else "–" for size in sizes), "–", "–"]]
    caption = (
        f"NDCG@10 by the number of candidates on {chapter.name}. Columns compare, of the same users and seeds in a "
        "row; rows do where their users are the same."
    )
    return [Table(caption, ["NDCG@10 of", *map(str, sizes), "users", "seeds"], rows)]


def _falling_row(one: Falling, sizes: list[int]) -> list[str]:
    cells = [mean(one.metrics[size], "ndcg@10", one.seeds) if size in one.metrics else "–" for size in sizes]
    return [one.run, *cells, f"{one.users:,}", str(one.seeds)]


def pool_table(chapter: Chapter, pools: PoolResults) -> Table:
    """Every run on one kind of pools, what they are measured against, and users with a full history."""
    rows = [_pool_row(ranked) for ranked in pools.runs]
    rows += [
        [who, *(f"{metrics[name]:.4f}" for name in SHOWN), "–", f"{pools.users:,}", *["–"] * (1 + len(SHOWN))]
        for who, metrics in ((f"{pools.first} alone", pools.alone), ("chance", pools.chance))
        if metrics
    ]
    head = ["run", *METRICS_SHOWN, "seeds", "users", "full history: users", *METRICS_SHOWN]
    return Table(f"{pools.name} on {chapter.name}.", head, rows)


def _pool_row(ranked: Ranked) -> list[str]:
    full = [mean(ranked.full, name, ranked.seeds) if name in ranked.full else "–" for name in SHOWN]
    counts = [str(ranked.seeds), f"{ranked.users:,}", f"{ranked.full['users']:,}"]
    return [ranked.run, *(mean(ranked.metrics, name, ranked.seeds) for name in SHOWN), *counts, *full]


def checks_table(chapter: Chapter, pools: PoolResults) -> Table:
    """What another order of the candidates changes, and what the LLM answers freely."""
    head = ["run", "pools", "places a target moves", "another comes first", "free answers"]
    rows = [_checks_row(ranked) for ranked in pools.runs]
    return Table(f"Checks of {pools.name} on {chapter.name}.", [*head, "not in the pool", "the target"], rows)


def _checks_row(ranked: Ranked) -> list[str]:
    orders, free = ranked.checks["orders"], ranked.checks["free"]
    counts = [
        f"{free[name]:,} ({free[name] / free['answers']:.1%})" for name in ("outside", "target") if free["answers"]
    ]
    return [
        *(ranked.run, f"{ranked.checks['checked']:,}"),
        *(f"{orders['rank_change']:.2f}", f"{orders['first_changed']:.1%}"),
        *([f"{free['answers']:,}", *counts] if counts else ["–"] * 3),
    ]
