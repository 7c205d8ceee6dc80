"""taxonomy: an LLM proposes a taxonomy of the domain and classifies every item into it.

Its answers are an out that is pushed and pulled. The last ones stay while the stage runs (`persist`), because they are
read like a journal.
"""

from pathlib import Path

import click
import polars as pl

from lamar import params
from lamar.console import say, user_errors
from lamar.errors import LamarError
from lamar.files import write_json, write_parquet
from lamar.taxonomy import classify, values
from lamar.taxonomy.answers import FOLDER, Asker
from lamar.taxonomy.items import texts
from lamar.taxonomy.propose import propose
from lamar.taxonomy.reading import read


@click.command()
@click.argument("dataset")
@click.argument("run")
@user_errors
def main(dataset: str, run: str) -> None:
    """Write data/taxonomies/DATASET/RUN.json, RUN/items.parquet, RUN/items.jsonl and metrics/DATASET/RUN/taxonomy.json.

    Only what no journal holds is asked.
    """
    chosen = params.load()
    settings = params.taxrec(chosen, run)
    source = params.entry(chosen.datasets, "dataset", dataset)
    if not source.about:
        raise LamarError(f"params.yaml: datasets.{dataset}.about: missing; say what the items are, e.g. books")
    items = pl.read_parquet(f"data/sequences/{dataset}/{run}/items.parquet")
    folder = FOLDER / dataset
    asker = Asker(chosen, dataset, settings.llm, folder / run / "items.jsonl")

    proposal = propose(lambda chats: asker.ask(chats, settings.proposal_tokens), source.about, source.attributes)
    taxonomy = proposal.taxonomy
    asked = classify.questions(texts(items, settings.attribute_words), taxonomy, source.about)
    found = [read(answer.text, taxonomy) for answer in asker.ask(asked)]

    counts = values.counts(found, taxonomy)
    write_json(folder / f"{run}.json", {"features": taxonomy.features, "conversation": proposal.conversation})
    write_parquet(folder / run / "items.parquet", values.table(items["item"], found, taxonomy))
    write_json(Path("metrics", dataset, run, "taxonomy.json"), {**counts, "usage": asker.keep()})
    say(
        f"{dataset}, {run}: {', '.join(taxonomy.features)}; {counts['values']:,} values in {counts['combinations']:,} "
        f"combinations, {counts['outside']:,} outside the taxonomy, {counts['without_values']:,} items without any"
    )


if __name__ == "__main__":
    main()
