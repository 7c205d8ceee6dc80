"""`lamar recommend` as a user meets it."""

from pathlib import Path

import polars as pl
import pytest
import yaml
from circle import DATASET, IDS, ITEMS, texts
from click.testing import CliRunner, Result

from lamar.cli import main
from lamar.serving.commands import printable


def recommend(*arguments: str, run: str = "sasrec") -> Result:
    return CliRunner().invoke(main, ["recommend", "--model", run, "--dataset", DATASET, *arguments])


def test_the_best_are_printed(shop):
    done = recommend("--history", f"{IDS[2]}, {IDS[3]}", "-k", "3")
    assert done.exit_code == 0, done.output
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == ["1", "2", "3"]
    assert lines[0][2:] == [IDS[4], texts([4])["name"][0]]
    scores = [float(line[1]) for line in lines]
    assert scores == sorted(scores, reverse=True)


def test_the_only_dataset_need_not_be_named(shop):
    done = CliRunner().invoke(main, ["recommend", "--model", "sasrec", "--history", IDS[2], "-k", "1"])
    assert done.exit_code == 0, done.output
    settings = yaml.safe_load(Path("params.yaml").read_text())
    settings["matrix"]["datasets"].append("ml-100k")
    Path("params.yaml").write_text(yaml.safe_dump(settings))
    done = CliRunner().invoke(main, ["recommend", "--model", "sasrec", "--history", IDS[2]])
    assert done.exit_code == 1
    assert f"name one with --dataset: {DATASET}, ml-100k" in " ".join(done.output.split())


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_many_users(shop, kind):
    users = pl.DataFrame({"user": ["b", "a"], "history": [[IDS[1], IDS[2]], [IDS[7]]]})
    if kind == "csv":
        users.with_columns(pl.col("history").list.join(",")).write_csv("users.csv")
    else:
        getattr(users, {"jsonl": "write_ndjson", "parquet": "write_parquet"}[kind])(f"users.{kind}")
    done = recommend("--users", f"users.{kind}", "--out", "out/found.parquet", "-k", "2", "--repeat")
    assert done.exit_code == 0, done.output
    assert "out/found.parquet: 4 recommendations for 2 users" in done.stderr
    found = pl.read_parquet("out/found.parquet")
    assert found.columns == ["user", "rank", "item_id", "title", "score"]
    assert found.select("user", "rank").rows() == [("b", 1), ("b", 2), ("a", 1), ("a", 2)]
    assert found["item_id"][0] == IDS[3]


def test_users_are_read_a_few_at_a_time(shop, monkeypatch):
    histories = [IDS[start : start + 3] for start in range(7)]

    def written(k="3"):
        pl.DataFrame({"user": [f"u{n}" for n in range(len(histories))], "history": histories}).write_parquet(
            "users.parquet"
        )
        done = recommend("--users", "users.parquet", "--out", "found.parquet", "-k", k)
        return done, pl.read_parquet("found.parquet")

    _, whole = written()
    monkeypatch.setattr("lamar.serving.tables.BATCH", 2)
    done, parts = written()
    assert "found.parquet: 21 recommendations for 7 users" in done.stderr
    assert parts.drop("score").equals(whole.drop("score"))
    assert parts["score"].to_list() == pytest.approx(whole["score"].to_list(), rel=1e-5)
    for bad, complaint in (([], "history 6 is empty"), (["lamp"], "1 unknown item id(s): 'lamp'")):
        histories[5] = bad
        done, left = written(k="1")
        assert done.exit_code == 1
        assert done.stderr.splitlines()[-1].startswith(f"error: {complaint}")
        assert left.equals(parts)
    assert [path.name for path in shop.glob(".found*")] == []


def test_a_file_without_users(shop):
    (shop / "users.csv").write_text("user,history\n")
    done = recommend("--users", "users.csv", "--out", "found.parquet")
    assert "0 recommendations for 0 users" in done.stderr
    assert pl.read_parquet("found.parquet").columns == ["user", "rank", "item_id", "title", "score"]


def test_new_items_by_the_columns_of_an_own_table(shop):
    row = {"sku": ["new"], **texts([4])}
    pl.DataFrame(row).write_csv("new.csv")
    done = recommend("--history", IDS[3], "-k", str(ITEMS), "--new-items", "new.csv", run="recformer-original")
    assert done.exit_code == 0, done.output
    scores = {line.split()[2]: line.split()[1] for line in done.stdout.splitlines()}
    assert scores["new"] == scores[IDS[4]]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--history", "x"], "error: 1 unknown item id(s): 'x'; the catalogue's are like"),
        (["--history", IDS[0], "--seed", "4"], "error: sasrec has no seed 4; it has 3, 5"),
        (["--history", IDS[0], "--new-items", "gone.csv"], "error: gone.csv: no such file"),
        (["--users", "gone.csv", "--out", "out.parquet"], "error: gone.csv: no such file"),
    ],
)
def test_a_mistake_is_one_line(shop, arguments, complaint):
    done = recommend(*arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith(complaint)
    assert done.stderr.count("\n") == 1
    assert not (shop / "out.parquet").exists()


@pytest.mark.parametrize(
    "arguments",
    [[], ["--users", "u.csv"], ["--history", "a", "--out", "o.parquet"], ["--history", "a", "--users", "u.csv"]],
)
def test_what_does_not_go_together(shop, arguments):
    done = recommend(*arguments)
    assert done.exit_code == 2
    assert "give either --history, or --users and --out" in done.stderr


def test_a_title_cannot_steer_the_terminal():
    assert printable("Alien\x1b[2J (1979) Amélie") == "Alien?[2J (1979) Amélie"
