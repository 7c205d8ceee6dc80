"""taxrec: an LLM says which values each user would like next, and all items are ranked by how many of them they share.

Its answers are an out that is pushed and pulled, as those of the stage `taxonomy`.
"""

from pathlib import Path

import click
import polars as pl

from lamar import params, tracking
from lamar.console import say, user_errors
from lamar.evaluation import ranks
from lamar.evaluation.metrics import summarise
from lamar.files import write_json
from lamar.taxonomy import profile, values
from lamar.taxonomy.answers import FOLDER, Asker
from lamar.taxonomy.items import texts
from lamar.taxonomy.rank import codes, ranked
from lamar.taxonomy.reading import read
from lamar.taxonomy.taxonomy import read_taxonomy
from lamar.training.examples import read_users


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write ranks/DATASET/full/RUN.parquet, data/taxonomies/DATASET/RUN/users.jsonl, metrics/DATASET/RUN/taxrec.json.

    Only what no journal holds is asked.
    """
    chosen = params.load()
    settings = params.taxrec(chosen, run)
    source = params.entry(chosen.datasets, "dataset", dataset)
    items = pl.read_parquet(f"data/sequences/{dataset}/{run}/items.parquet")
    users = read_users(f"data/sequences/{dataset}/{run}/histories.parquet")
    taxonomy = read_taxonomy(FOLDER / dataset / f"{run}.json")
    classified = pl.read_parquet(FOLDER / dataset / run / "items.parquet")
    asker = Asker(chosen, dataset, settings.llm, FOLDER / dataset / run / "users.jsonl")

    shown = profile.lines(texts(items, settings.attribute_words), classified)
    histories = users.test.histories
    asked, left_out = profile.questions(histories, shown, taxonomy, source.about, settings.history_characters)
    cut = {"histories_cut": int((left_out > 0).sum()), "left_out": int(left_out.sum())}
    if cut["histories_cut"]:
        say(f"{cut['histories_cut']:,} of {len(asked):,} histories are too long: {cut['left_out']:,} items left out")
    found = [read(answer.text, taxonomy) for answer in asker.ask(asked)]
    liked = values.table(pl.Series("user", users.ids), found, taxonomy)

    (seed,) = settings.seeds
    with tracking.run(chosen.tracking, f"{dataset} {run} seed {seed}", settings.model_dump(), {}) as tracker:
        table = ranked(codes(liked, taxonomy), codes(classified, taxonomy), users.ids, users.test.targets, seed)
        tracker.metrics(summarise(table, "expected"))
    ranks.write(Path("ranks", dataset, settings.protocol, f"{run}.parquet"), table)
    counts = cut | values.counts(found, taxonomy)
    write_json(Path("metrics", dataset, run, "taxrec.json"), {**counts, "usage": asker.keep()})
    say(f"{dataset}, {run}: the target shares its score with {table['equal'].mean():,.0f} other items on average")


if __name__ == "__main__":
    main()
