"""significance: is the difference between two runs more than chance? Intervals and p-values from their ranks."""

from pathlib import Path

import click

from lamar import params
from lamar.analysis.runs import read_runs
from lamar.analysis.significance import pair_table, run_table, significance
from lamar.console import say, user_errors
from lamar.files import write_json, written_whole


@click.command()
@click.argument("dataset")
@user_errors
def main(dataset: str) -> None:
    """Write metrics/DATASET/significance.json: every evaluated run of DATASET, and every pair of them.

    Beside it intervals.csv and pairs.csv, the same numbers for plots.
    """
    chosen = params.load()
    params.entry(chosen.datasets, "dataset", dataset)
    found = significance(read_runs(dataset, list(chosen.runs)), chosen.significance)
    folder = Path("metrics", dataset)
    write_json(folder / "significance.json", found)
    for name, table in (("intervals", run_table(found)), ("pairs", pair_table(found))):
        with written_whole(folder / f"{name}.csv") as unfinished:
            table.write_csv(unfinished)
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
