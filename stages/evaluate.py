"""evaluate: from the ranks of a run to its metrics, and beside them the signature of what made them."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.evaluation import ranks as tables
from lamar.evaluation.metrics import summarise
from lamar.evaluation.signature import inputs, signature
from lamar.files import write_json


@click.command()
@click.argument("dataset")
@click.argument("run")
@click.option("--source", help="The dataset that the run was trained on, where it is another one.")
@user_errors
def main(dataset: str, run: str, source: str | None) -> None:
    """Write metrics/DATASET/PROTOCOL/RUN.json and RUN.signature.json (RUN-from-SOURCE with a source)."""
    chosen = params.load()
    setting = params.entry(chosen.runs, "run", run)
    features = params.entry(chosen.features, "features", setting.features)
    ties = chosen.evaluate.ties
    name = f"{run}-from-{source}" if source else run
    settings = setting.model_dump(exclude={"model", "features", "seeds"}) | ({"source": source} if source else {})
    choices = {
        "dataset": dataset,
        "run": name,
        "model": setting.model,
        "features": setting.features,
        "settings": settings,
        "protocol": setting.protocol,
        "ties": ties,
    }
    ranks = tables.read(Path("ranks", dataset, setting.protocol, f"{name}.parquet"))
    metrics = summarise(ranks, ties)
    made_from = inputs(dataset, run, features)
    folder = Path("metrics", dataset, setting.protocol)
    write_json(folder / f"{name}.json", metrics)
    write_json(folder / f"{name}.signature.json", signature(choices, made_from, ranks))
    say(f"{dataset}, {name}: NDCG@10 {metrics['ndcg@10']:.4f} ± {metrics['ndcg@10_std']:.4f}")


if __name__ == "__main__":
    main()
