"""significance: is the difference between two runs more than chance? Intervals and p-values from their ranks."""

from pathlib import Path

import click

from lamar import params
from lamar.analysis.runs import read_runs
from lamar.analysis.significance import significance
from lamar.console import say, user_errors
from lamar.files import write_json


@click.command()
@click.argument("dataset")
@user_errors
def main(dataset: str) -> None:
    """Write metrics/DATASET/significance.json: every evaluated run of DATASET, and every pair of them."""
    chosen = params.load()
    params.entry(chosen.datasets, "dataset", dataset)
    found = significance(read_runs(dataset, list(chosen.runs)), chosen.significance)
    write_json(Path("metrics", dataset, "significance.json"), found)
    for pair in found["pairs"]:
        ndcg = pair["ndcg@10"]
        change = "no ratio" if ndcg["relative"] is None else f"{ndcg['relative']['value']:+.1%}"
        verdict = "significant" if ndcg["significant"] else "not significant"
        say(
            f"{pair['run']} against {pair['against']}: NDCG@10 {change}, p {ndcg['p']:.4f} "
            f"({ndcg['p_holm']:.4f} corrected), {verdict}; chance of {pair['chance']}"
        )


if __name__ == "__main__":
    main()
