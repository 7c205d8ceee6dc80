"""ratings: what the people who filled a rating sheet think of a generator's signals."""

from pathlib import Path

import click

from lamar import params
from lamar.analysis.ratings import read_raters, read_sheet, summarise
from lamar.console import say, user_errors
from lamar.files import write_json


@click.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def main(dataset: str, generator: str) -> None:
    """Write metrics/DATASET/GENERATOR/ratings.json from the sheets in data/ratings/DATASET/GENERATOR/."""
    chosen = params.load()
    attributes = params.entry(chosen.datasets, "dataset", dataset).attributes
    sheet = read_sheet(dataset, generator, attributes, chosen.ratings)
    raters = read_raters(Path("data/ratings", dataset, generator), sheet)
    write_json(Path("metrics", dataset, generator, "ratings.json"), summarise(raters, sheet.height))
    say(f"{dataset}, {generator}: {', '.join(rater.name for rater in raters) or 'not yet rated (lamar rate)'}")


if __name__ == "__main__":
    main()
