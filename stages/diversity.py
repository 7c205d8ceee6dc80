"""diversity: how alike are the signals of a generator? By meaning, by words, by templates."""

from pathlib import Path

import click
import polars as pl

from lamar import params
from lamar.analysis.diversity import alike, highly_similar, wording
from lamar.console import say, user_errors
from lamar.errors import LamarError
from lamar.files import write_json, written_whole


@click.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def main(dataset: str, generator: str) -> None:
    """Write metrics/DATASET/GENERATOR/diversity.json, and similarity.csv beside it."""
    chosen = params.load().diversity
    texts = pl.read_parquet(f"data/signals/{dataset}/{generator}.parquet").filter("kept").sort("item_id")["signal"]
    folder = Path("metrics", dataset, generator)
    curves = []
    for path in sorted(Path("data/embeddings", dataset, generator).glob("*.parquet")):
        vectors = pl.read_parquet(path)["signal"].to_numpy()
        rows = highly_similar(alike(vectors, chosen.thresholds), chosen.share)
        curves += [
            (path.stem, at, count, count / len(vectors)) for at, count in zip(chosen.thresholds, rows, strict=True)
        ]
    if not curves:
        raise LamarError(f"data/embeddings/{dataset}/{generator}: no vectors; run the stage embeddings (dvc repro)")
    curve = pl.DataFrame(curves, schema=["similarity", "threshold", "rows", "share"], orient="row")
    with written_whole(folder / "similarity.csv") as unfinished:
        curve.write_csv(unfinished, float_precision=6)
    found = wording(texts.to_list(), chosen.sample, chosen.seed)
    write_json(folder / "diversity.json", {"signals": len(texts), **found})
    most = found["openings"][0] if found["openings"] else {"text": "nothing in common", "share": 0.0}
    say(f"{dataset}, {generator}: {found['vocabulary']:,} words; {most['share']:.1%} begin with {most['text']!r}")


if __name__ == "__main__":
    main()
