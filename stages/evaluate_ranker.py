"""evaluate-ranker: from the ranks of pools to metrics, of all users and of those with a full history; the signature.

A full history is as long as the run's `history`: the paper says five interactions, but many users have but four.
"""

from pathlib import Path

import click
import polars as pl

from lamar import params
from lamar.console import say, user_errors
from lamar.evaluation import ranks as tables
from lamar.evaluation.metrics import summarise
from lamar.evaluation.signature import inputs, signature
from lamar.files import sha256_of, write_json


@click.command()
@click.argument("dataset")
@click.argument("run")
@click.argument("kind")
@user_errors
def main(dataset: str, run: str, kind: str) -> None:
    """Write metrics/DATASET/KIND/RUN.json, RUN.full-history.json and RUN.signature.json."""
    chosen = params.load()
    setting = params.ranker(chosen, run, params.entry(chosen.pools, "pool", kind).at_most)
    features = params.entry(chosen.features, "features", setting.features)
    ties = chosen.evaluate.ties
    ranks = tables.read(Path("ranks", dataset, kind, f"{run}.parquet"))
    pools = Path("data/pools", dataset, kind, f"{run}.parquet")
    long = pl.read_parquet(pools).filter(pl.col("split") == "test", pl.col("history").list.len() == setting.history)
    full = ranks.filter(pl.col("user").is_in(long["user"].to_list()))
    choices = {
        "dataset": dataset,
        "run": run,
        "model": setting.model,
        "features": setting.features,
        "settings": setting.model_dump(exclude={"model", "features", "seeds"}),
        "protocol": kind,
        "ties": ties,
    }
    made_from = inputs(dataset, run, features) | {"pools": sha256_of(pools), "llm": params.llm_sha256(chosen, setting)}
    metrics, folder = summarise(ranks, ties), Path("metrics", dataset, kind)
    write_json(folder / f"{run}.json", metrics)
    subset = {"users": full["user"].n_unique()} | (summarise(full, ties) if full.height else {})
    write_json(folder / f"{run}.full-history.json", subset)
    write_json(folder / f"{run}.signature.json", signature(choices, made_from, ranks))
    say(f"{dataset}, {run}, {kind}: NDCG@10 {metrics['ndcg@10']:.4f} ± {metrics['ndcg@10_std']:.4f}")


if __name__ == "__main__":
    main()
