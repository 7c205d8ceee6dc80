"""`lamar recommend` and `lamar publish`: trained models in use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lamar import params
from lamar.console import progress, say, user_errors
from lamar.errors import LamarError

if TYPE_CHECKING:
    import polars as pl

    from lamar.serving.recommender import Recommender

FILE = click.Path(path_type=Path)


def of_a_run(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name a trained run, and items beside those it was trained on."""
    options = [
        click.option(
            "--model", "run", required=True, metavar="RUN", help="An entry of `runs` in params.yaml, trained."
        ),
        click.option(
            "--dataset", help="An entry of `datasets` in params.yaml; without it, the one of `matrix.datasets`."
        ),
        click.option("--seed", type=int, help="Which model of a run with several seeds; without it, the first."),
        click.option(
            "--new-items",
            type=FILE,
            help="Items that the model was not trained on: csv, jsonl or parquet with item_id (your tables: what "
            "they call it), the dataset's attributes and, if you have it, `signal`. For models that read text.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@of_a_run
@click.option("--history", help="Item ids as in the data, oldest first, separated by commas.")
@click.option(
    "--users",
    type=FILE,
    help="Many histories: csv, jsonl or parquet with columns user and history (a list, or commas).",
)
@click.option("--out", type=FILE, help="With --users: the parquet file that is written.")
@click.option("-k", type=click.IntRange(min=1), default=10, show_default=True, help="How many items.")
@click.option("--repeat", is_flag=True, help="Recommend items of the history, too; without it they are left out.")
@user_errors
def recommend(
    run: str, dataset: str | None, seed: int | None, new_items: Path | None, history: str | None, users: Path | None,
    out: Path | None, k: int, repeat: bool,
) -> None:  # fmt: skip
    """Name the best items for one history or many users.

    Of the whole catalogue; many users' are written to a file.
    Scores are counts (popularity), logits (sasrec) or cosines (recformer), to be compared within one user alone.
    """
    if (history is None) == (users is None) or (users is None) != (out is None):
        raise click.UsageError("give either --history, or --users and --out")
    from lamar.serving.recommender import Recommender
    from lamar.serving.repository import trained_run
    from lamar.serving.tables import split_ids

    chosen = params.load()
    recommender = Recommender(trained_run(chosen, dataset or _only_dataset(chosen), run, seed, new_items))
    if users is not None and out is not None:
        _recommend_to_many(recommender, users, out, k, repeat)
        return
    found = recommender.recommend([split_ids(history or "")], k, repeat=repeat)
    width = max(found["item_id"].str.len_chars().to_list() or [0])
    for rank, item_id, title, score in found.drop("row").iter_rows():
        click.echo(f"{rank:>3}  {score:<10.6g}  {printable(item_id):{width}}  {printable(title)}")


def _recommend_to_many(recommender: Recommender, users: Path, out: Path, k: int, repeat: bool) -> None:
    """Write user, rank, item_id, title and score, of some users at a time."""
    from lamar.files import put_parquet, streamed, written_whole
    from lamar.serving.recommender import OF_USERS
    from lamar.serving.tables import count_rows, read_histories

    total, written = count_rows(users), 0

    def recommended() -> Iterator[pl.DataFrame]:
        nonlocal written
        done = 0
        for asked in read_histories(users):
            found = recommender.recommend(
                asked["history"].to_list(),
                k,
                repeat=repeat,
                first=done,
                seen=lambda rows: bar.update(task, advance=rows),
            )
            done += len(asked)
            written += len(found)
            yield found.with_columns(asked["user"][found["row"]]).select(*OF_USERS)

    with progress() as bar, written_whole(out) as unfinished:
        task = bar.add_task("recommending", total=total, note="users")
        put_parquet(unfinished, streamed(recommended(), OF_USERS))
    say(f"{out}: {written:,} recommendations for {total:,} users")


@click.command()
@of_a_run
@user_errors
def publish(run: str, dataset: str | None, seed: int | None, new_items: Path | None) -> None:
    """Log a trained model to MLflow, to be served.

    `mlflow models serve` then recommends over HTTP.
    """
    from lamar import tracking
    from lamar.serving.publish import publish as log
    from lamar.serving.repository import trained_run

    chosen = params.load()
    dataset = dataset or _only_dataset(chosen)
    address = log(trained_run(chosen, dataset, run, seed, new_items), dataset, chosen.tracking)
    say(f"{address}: {dataset} {run}; serve it with")
    click.echo(
        f"MLFLOW_TRACKING_URI={tracking.store_uri()} mlflow models serve -m {address} --env-manager local -p 5001"
    )


def _only_dataset(chosen: params.Params) -> str:
    """The dataset that is meant when none is named. Raises LamarError when it could be one of several."""
    names = chosen.matrix.datasets
    if len(names) != 1:
        raise LamarError(
            f"params.yaml: matrix.datasets has {len(names)} entries; name one with --dataset: {', '.join(names)}"
        )
    return names[0]


def printable(text: str) -> str:
    """Item text is anybody's: nothing of it may steer a terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)
