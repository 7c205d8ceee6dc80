"""buckets: where do signals help? Every run and pair on groups of users by what their test target is like."""

from pathlib import Path

import click

from lamar import params
from lamar.analysis.buckets import bucket_groups, bucket_table
from lamar.analysis.runs import read_runs
from lamar.console import say, user_errors
from lamar.files import written_whole


@click.command()
@click.argument("dataset")
@user_errors
def main(dataset: str) -> None:
    """Write metrics/DATASET/buckets.csv."""
    chosen = params.load()
    params.entry(chosen.datasets, "dataset", dataset)
    runs = read_runs(dataset, list(chosen.runs))
    groups = bucket_groups(Path("data/prepared", dataset), Path("data/embeddings", dataset), runs, chosen.buckets)
    table = bucket_table(runs, groups, chosen.buckets, chosen.significance)
    with written_whole(Path("metrics", dataset, "buckets.csv")) as unfinished:
        table.write_csv(unfinished)
    counts = table.unique(["by", "bucket"], maintain_order=True).group_by("by", maintain_order=True).len()
    say(f"{dataset}: {', '.join(f'{count} groups by {by}' for by, count in counts.iter_rows())}")


if __name__ == "__main__":
    main()
