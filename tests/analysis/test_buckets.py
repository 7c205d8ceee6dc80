"""Values, intervals and differences on groups of users."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from made_up import run_values

from lamar.analysis.buckets import bucket_groups, bucket_table
from lamar.analysis.groups import Group
from lamar.params import Buckets, Significance

CHANCE = Significance(seed=0, resamples=400, level=0.95)
CHOSEN = Buckets(popularity=[0, 5], history=[3], topics=2, novelty=2, similarity="small", min_users=3)


def runs_with_help_for_the_rare(users: int = 200) -> list:
    """lamar is better for the first half of the users only."""
    rng = np.random.default_rng(0)
    base = rng.uniform(0.2, 0.4, size=(users, 2))
    gain = np.where(np.arange(users) < users // 2, 0.1, 0.0)[:, None]
    return [run_values("original", base), run_values("lamar", base + gain + rng.normal(0, 0.02, base.shape))]


def halves(users: int) -> list[Group]:
    first = np.arange(users) < users // 2
    return [Group("popularity", "0", first), Group("popularity", "> 0", ~first)]


def row(table: pl.DataFrame, bucket: str, run: str, against: str) -> dict:
    return table.filter(bucket=bucket, run=run, against=against, metric="ndcg@10").row(0, named=True)


def test_help_for_a_group_is_seen_there_and_not_elsewhere():
    table = bucket_table(runs_with_help_for_the_rare(), halves(200), CHOSEN, CHANCE)
    rare, common = (row(table, bucket, "m-lamar", "m-original") for bucket in ("0", "> 0"))
    assert rare["users"] == 100
    assert rare["value"] == pytest.approx(0.1, abs=0.01)
    assert 0 < rare["low"] < rare["value"] < rare["high"]
    assert common["low"] < 0 < common["high"]


def test_a_runs_own_value_is_the_mean_of_the_group():
    runs = runs_with_help_for_the_rare()
    own = row(bucket_table(runs, halves(200), CHOSEN, CHANCE), "0", "m-lamar", "")
    assert own["value"] == pytest.approx(runs[1].values[:100, :, 0].mean(), abs=1e-6)
    assert own["low"] < own["value"] < own["high"]


def test_a_group_of_too_few_users_is_left_out():
    few = Group("history", "0–3", np.arange(200) < 2)
    table = bucket_table(runs_with_help_for_the_rare(), [few, *halves(200)], CHOSEN, CHANCE)
    assert table["bucket"].unique(maintain_order=True).to_list() == ["0", "> 0"]


def test_a_group_in_which_two_bases_are_the_same_has_both_pairs():
    users = np.arange(200)
    base = np.where(users < 100, 0.0, 0.3)[:, None] * np.ones((1, 2))  # nobody finds a target of the first half
    other = base + np.where(users < 100, 0.0, 0.01)[:, None]
    runs = [run_values("original", base), run_values("lamar", base + 0.02), run_values("placebo", other)]
    table = bucket_table(runs, halves(200), CHOSEN, CHANCE)
    assert table.filter(bucket="0", metric="mrr", run="m-lamar")["against"].to_list() == ["", "m-original", "m-placebo"]


def test_a_run_that_repeats_another_has_no_rows_of_its_own():
    original, lamar = runs_with_help_for_the_rare()
    table = bucket_table([original, lamar, replace(lamar, run="m-lamar-longer")], halves(200), CHOSEN, CHANCE)
    assert table["run"].unique(maintain_order=True).to_list() == ["m-original", "m-lamar"]


def test_the_groups_of_a_dataset(tmp_path, capsys):
    tables = {
        "items": {
            "item": [0, 1, 2],
            "item_id": ["a", "b", "c"],
            "title": ["A", "B", "C"],
            "genre": ["War", "War", "Noir"],
        },
        "interactions": {
            "user": [0] * 6 + [1] * 3,
            "item": [0, 0, 1, 0, 0, 1, 0, 0, 2],
            "position": [*range(6), *range(3)],
        },
        "split": {"user": [0, 1], "train": [4, 1], "validation": [0, 0], "test": [1, 2]},
    }
    for name, columns in tables.items():
        pl.DataFrame(columns).write_parquet(tmp_path / f"{name}.parquet")
    shape = pl.Array(pl.Float32, 2)
    schema = {"item_id": pl.String, "signal": shape, "item": shape}
    vectors = pl.DataFrame({"item_id": ["b"], "signal": [[1.0, 0.0]], "item": [[0.0, 1.0]]}, schema=schema)
    for generator in ("writer", "that no run reads"):
        (tmp_path / "embeddings" / generator).mkdir(parents=True)
        vectors.write_parquet(tmp_path / "embeddings" / generator / "small.parquet")
    run = run_values("lamar", np.zeros((2, 1)))
    reads = run.signature | {"signals": {"writer": "sha256", "not embedded": "sha256"}}
    run = replace(run, items=np.array([1, 2]), signature=reads)
    groups = bucket_groups(tmp_path, tmp_path / "embeddings", [run], CHOSEN)
    found = {(group.by, group.name): group.members.tolist() for group in groups}
    assert found["popularity", "0"] == [False, True]
    assert found["popularity", "1–5"] == [True, False]
    assert found["history", "0–3"] == [False, True]
    assert found["genre", "Noir"] == [False, True]
    assert found["novelty writer", "1.00–1.00"] == [True, False]
    assert {group.by for group in groups} == {"popularity", "history", "genre", "novelty writer"}
    assert "embeddings/not embedded/small.parquet: no such file" in " ".join(capsys.readouterr().err.split())
