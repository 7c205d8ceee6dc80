"""Attributes: lists are split, texts are counted, and what too few or too many items share is left out."""

from pathlib import Path

import polars as pl
import pytest

from lamar.baselines.attributes import attribute_sets
from lamar.errors import LamarError
from lamar.params import AttributeSets, load

REPOSITORY = Path(__file__).parents[2]
SETS = AttributeSets(lists=["brand", "genre"], left_out=["title"], min_items=2, max_share=0.5)


def of(column: str, *texts: str, **changes) -> dict[str, list[int]]:
    """Which items have which attribute."""
    table = attribute_sets(pl.DataFrame({"item": range(len(texts)), column: texts}), SETS.model_copy(update=changes))
    return {name: table[name].arg_true().to_list() for name in table.columns}


def test_a_list_has_the_pieces_between_its_commas():
    found = of("genre", "Crime, Drama", "War, Drama", "Film-Noir, Crime", "Film-Noir", "", "War")
    assert found == {"genre: Crime": [0, 2], "genre: Drama": [0, 1], "genre: Film-Noir": [2, 3], "genre: War": [1, 5]}


def test_a_text_has_words_and_pairs_of_words_without_stop_words():
    texts = ["Warm tale of a true identity", "true Identity, and a secret", "the secret of the dark", "cold", "wet"]
    assert of("Mood and Themes", *texts) == {
        "Mood and Themes: identity": [0, 1],
        "Mood and Themes: secret": [1, 2],
        "Mood and Themes: true": [0, 1],
        "Mood and Themes: true identity": [0, 1],
    }


def test_an_item_has_an_attribute_once_however_often_it_is_named():
    assert of("signal", "saw saw saw", "saw", "drill", "drill", min_items=2) == {
        "signal: drill": [2, 3],
        "signal: saw": [0, 1],
    }


def test_what_too_few_or_too_many_items_share_is_left_out():
    brands = ["A"] * 4 + ["B"] * 3 + ["C"] * 2 + ["D"]
    assert list(of("brand", *brands, min_items=3, max_share=0.3)) == ["brand: B"]
    assert list(of("brand", *brands, min_items=2, max_share=0.4)) == ["brand: A", "brand: B", "brand: C"]


def test_columns_are_told_apart_and_titles_left_out():
    items = pl.DataFrame(
        {
            "item": [0, 1, 2, 3],
            "title": ["X", "X", "Y", "Y"],
            "brand": ["X", "X", "Y", ""],
            "genre": ["", "X", "X", "Y"],
        }
    )
    assert attribute_sets(items, SETS).columns == ["brand: X", "genre: X"]


def test_nothing_shared_is_an_error_that_names_what_was_read():
    with pytest.raises(
        LamarError, match=r"no attribute in genre is shared by 2 items or more and by 50% of all or fewe"
    ):
        of("genre", "Drama", "War", "Crime", "")
    with pytest.raises(LamarError, match="no attribute in no column is shared"):
        of("title", "Drama", "Drama", "Crime", "War")
    with pytest.raises(LamarError, match="no attribute in signal is shared"):
        of("signal", "", "", "", "")


@pytest.mark.parametrize("dataset", ["ml-100k", "scientific", "games"])
def test_the_preset_knows_the_columns_of_the_datasets(dataset):
    chosen = load(REPOSITORY / "params.yaml")
    sets = chosen.runs["s3rec-lamar"].pretraining.attributes
    assert set(chosen.datasets[dataset].attributes) <= {*sets.lists, *sets.left_out}
