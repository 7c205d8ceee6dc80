"""rank: fine-tune an LLM with all its seeds to pick the next item from a pool, and rank every test pool."""

import click

from lamar import params
from lamar.console import user_errors


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write ranks/DATASET/sampled/RUN.parquet, metrics/DATASET/curves/RUN.csv and models/DATASET/RUN/."""
    from lamar.rankers.cases import read_cases, train_lora
    from lamar.training.outputs import train_run

    chosen = params.load()
    settings = params.ranker(chosen, run)
    cases = read_cases(dataset, run, chosen.generators[settings.llm])
    train_run(chosen, dataset, run, train_lora, cases)


if __name__ == "__main__":
    main()
