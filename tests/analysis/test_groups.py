"""Users are grouped by their target and their history."""

import numpy as np
import polars as pl

from lamar.analysis.groups import TOPICS, quantiles, ranges, topics, training_counts


def named(groups: list) -> dict[str, list[int]]:
    return {group.name: np.flatnonzero(group.members).tolist() for group in groups}


def test_training_counts_leave_out_validation_and_test():
    interactions = pl.DataFrame(
        {"user": [0, 0, 0, 0, 1, 1, 1], "item": [2, 2, 0, 1, 2, 3, 0], "position": [0, 1, 2, 3, 0, 1, 2]}
    )
    split = pl.DataFrame({"user": [0, 1], "train": [2, 1]})
    assert training_counts(interactions, split, 5).tolist() == [0, 0, 3, 0, 0]


def test_ranges_name_never_seen_one_to_five_and_so_on():
    found = named(ranges("popularity", np.array([0, 1, 5, 6, 20, 21, 900]), [0, 5, 20]))
    assert found == {"0": [0], "1–5": [1, 2], "6–20": [3, 4], "> 20": [5, 6]}


def test_ranges_may_start_above_zero():
    assert list(named(ranges("history", np.array([2]), [5, 10]))) == ["0–5", "6–10", "> 10"]


def test_quantiles_leave_out_those_without_a_value():
    found = named(quantiles("novelty", np.array([0.1, np.nan, 0.4, 0.2, 0.3]), 2))
    assert found == {"0.10–0.25": [0, 3], "0.25–0.40": [2, 4]}
    assert quantiles("novelty", np.array([np.nan]), 2) == []


def test_a_target_may_have_several_topics_and_rare_ones_are_pooled():
    found = named(topics("genre", [["War", "Drama"], ["Drama"], ["Horror"], ["War"], ["Noir"]], 2))
    assert found == {"Drama": [0, 1], "War": [0, 3], "others": [2, 4]}


def test_every_genre_of_a_film_counts():
    assert TOPICS["genre"](["Crime, Drama", ""]) == [["Crime", "Drama"], ["none"]]


def test_a_category_is_the_first_step_that_most_items_do_not_share():
    texts = [
        "Industrial, Test, Measure & Inspect, Gauges",
        "Industrial, Test, Measure & Inspect",
        "Industrial, Fasteners, Nails",
        "Industrial, Fasteners, Bolts",
        "Industrial",
        "",
    ]
    expected = ["Test, Measure & Inspect", "Test, Measure & Inspect", "Fasteners", "Fasteners", "none", "none"]
    assert [topic for (topic,) in TOPICS["category"](texts)] == expected
