"""Verdicts on pairs with and without a planted effect, and two kinds of chance."""

import json
from dataclasses import replace

import numpy as np
import pytest
from made_up import run_values

from lamar.analysis.significance import pair_table, run_table, significance
from lamar.params import Significance

CHOSEN = Significance(seed=0, resamples=1000, level=0.95)


def simulated(effect: float, seeds: int, between_seeds: float = 0.0, number: int = 0) -> list:
    """original, lamar and placebo on 300 users: lamar is better by `effect`, seeds differ by `between_seeds`."""
    rng = np.random.default_rng(number)
    user = rng.uniform(0.2, 0.6, size=(300, 1))
    return [
        run_values(
            features,
            user + gain + rng.normal(0, 0.1, (300, seeds)) + rng.normal(0, between_seeds, seeds),
        )
        for features, gain in {"original": 0.0, "lamar": effect, "placebo": 0.0}.items()
    ]


def test_a_planted_effect_is_found():
    found = significance(simulated(0.05, seeds=3), CHOSEN)
    assert [(pair["run"], pair["against"]) for pair in found["pairs"]] == [
        ("m-lamar", "m-original"),
        ("m-lamar", "m-placebo"),
    ]
    for pair in found["pairs"]:
        ndcg = pair["ndcg@10"]
        assert ndcg["significant"]
        assert ndcg["p"] <= ndcg["p_holm"] < 0.05
        for ends in (ndcg["difference"], ndcg["relative"], ndcg["relative_users"]):
            assert 0 < ends["low"] < ends["value"] < ends["high"]
        assert ndcg["relative"]["value"] == pytest.approx(0.05 / 0.4, abs=0.03)


def test_without_an_effect_nothing_is_significant():
    found = significance(simulated(0.0, seeds=3), CHOSEN)
    assert not any(pair["ndcg@10"]["significant"] for pair in found["pairs"])


def test_with_one_seed_the_chance_is_of_users_alone():
    (pair, _) = significance(simulated(0.05, seeds=1), CHOSEN)["pairs"]
    assert pair["chance"] == "users"
    assert pair["seeds"] == [1, 1]
    assert pair["mrr"]["relative"] == pair["mrr"]["relative_users"]


def test_a_comparison_that_would_be_the_same_is_made_once():
    original, lamar, placebo = simulated(0.05, seeds=3)
    again = [
        replace(run, run=f"{run.run}-longer", signature=run.signature | {"settings": {"layers": 3}})
        for run in (original, lamar)
    ]
    other = run_values("placebo", placebo.values[..., 0] + 0.01, settings={"layers": 3})
    runs = [original, lamar, placebo, *again, replace(other, run="m-placebo-longer")]
    found = significance(runs, CHOSEN)
    assert found["repeats"] == {"m-original-longer": "m-original", "m-lamar-longer": "m-lamar"}
    assert [(pair["run"], pair["against"]) for pair in found["pairs"]] == [
        ("m-lamar", "m-original"),
        ("m-lamar", "m-placebo"),
        ("m-lamar-longer", "m-placebo-longer"),
    ]
    assert run_table(found)["run"].unique(maintain_order=True).to_list() == [
        "m-original",
        "m-lamar",
        "m-placebo",
        "m-placebo-longer",
    ]


def test_the_tables_of_the_plots_have_the_same_numbers():
    runs = [*simulated(0.05, seeds=3)[:2], run_values("placebo", np.zeros((300, 3)))]
    found = significance(runs, CHOSEN)
    table = pair_table(found)
    assert table.height == 3  # nothing relative to a base of zeros
    ndcg = found["pairs"][0]["ndcg@10"]
    assert table.row(0) == ("m-lamar", "m-original", "ndcg@10", *ndcg["relative"].values(), ndcg["significant"])
    assert run_table(found).row(0) == ("m-original", "ndcg@10", *found["runs"]["m-original"]["ndcg@10"].values())


def test_a_base_of_zeros_has_no_ratio_but_a_difference():
    runs = [run_values("original", np.zeros((40, 2))), run_values("lamar", np.ones((40, 2)))]
    (pair,) = significance(runs, CHOSEN)["pairs"]
    assert pair["mrr"]["relative"] is None
    assert pair["mrr"]["relative_users"] is None
    assert pair["mrr"]["difference"]["low"] == 1
    assert pair["mrr"]["significant"]
    json.dumps(pair, allow_nan=False)


def test_intervals_of_runs_hold_their_means():
    found = significance(simulated(0.05, seeds=3), CHOSEN)["runs"]
    assert list(found) == ["m-original", "m-lamar", "m-placebo"]
    assert all(run["mrr"]["low"] < run["mrr"]["value"] < run["mrr"]["high"] for run in found.values())


def test_no_pair_is_no_error():
    assert significance(simulated(0.0, seeds=1)[:1], CHOSEN)["pairs"] == []


def test_equal_input_gives_equal_output():
    assert significance(simulated(0.05, seeds=2), CHOSEN) == significance(simulated(0.05, seeds=2), CHOSEN)
