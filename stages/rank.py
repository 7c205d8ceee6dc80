"""rank: fine-tune an LLM with all its seeds to pick the next item from a pool, and rank every test pool."""

from functools import partial

import click

from lamar import params
from lamar.console import user_errors


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write ranks/DATASET/sampled/RUN.parquet, metrics/DATASET/curves/RUN.csv and models/DATASET/RUN/."""
    import polars as pl

    from lamar.llm.local import weights_folder
    from lamar.rankers import pools
    from lamar.rankers.train import train_lora
    from lamar.training.outputs import train_run

    chosen = params.load()
    settings = params.ranker(chosen, run)
    asked = pools.read(f"data/pools/{dataset}/{run}.parquet")
    items = pl.read_parquet(f"data/sequences/{dataset}/{run}/items.parquet")
    trainer = partial(train_lora, items, weights_folder(chosen.generators[settings.llm]))
    train_run(chosen, dataset, run, trainer, asked)


if __name__ == "__main__":
    main()
