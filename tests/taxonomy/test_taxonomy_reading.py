"""From what an LLM says about an item or a user to one value for each feature."""

from __future__ import annotations

import pytest
from taxonomist import FILMS, TAXONOMY, VALUES

from lamar.taxonomy.reading import Reading, chosen_value, read
from lamar.taxonomy.taxonomy import Taxonomy

DARK = {"Genre": "Horror", "Mood": "Dark", "Era": "1990s", "Audience": "Adults", "Pace": "Fast"}


@pytest.mark.parametrize(("said", "row"), list(zip(FILMS.values(), VALUES, strict=True)), ids=list(FILMS))
def test_case_order_format_and_words_around_do_not_matter(said, row):
    values = dict(zip(TAXONOMY.features, row, strict=True))
    assert read(said, TAXONOMY).values == {name: value for name, value in values.items() if value}


@pytest.mark.parametrize(
    "said",
    [
        "genre - horror\nmood - dark\nera - 1990s\naudience - adults\npace - fast",
        "- **Genre**: Horror (a slasher film)\n- **Mood**: It is Dark, not Light... well\n- **Era**: 1990s\n"
        "- **Audience**: Adults\n- **Pace**: Fast",
        "The item's values:\nPace = FAST; Audience = Adults; Era = 1990s; Mood = Dark; Genre = Horror",
        "Genre: Horror\nMood: Dark\nEra: 1990s\nAudience: Adults\nPace: Fast\n\nItem:\nTitle: Jaws\nGenre: Comedy",
    ],
)
def test_all_these_say_the_same(said):
    found = read(said, TAXONOMY)
    assert found.values | {"Mood": "Dark"} == DARK
    assert found.values.get("Mood") == ("Dark" if "not Light" not in said else None)  # both values: no choice


def test_what_lies_outside_the_taxonomy_is_dropped_and_counted():
    said = "Genre: Western\nMood: Dark\nEra: unknown\nAudience: N/A\nPace: breakneck\nCountry: France"
    assert read(said, TAXONOMY) == Reading({"Mood": "Dark"}, outside=2)


@pytest.mark.parametrize(("said", "outside"), [("", 0), ("Unknown.", 0), ("I would rather not say.", 1)])
def test_nothing_said_is_nothing_read(said, outside):
    assert read(said, TAXONOMY) == Reading({}, outside)


def test_the_whole_list_said_again_is_no_choice():
    assert read("Genre: Drama | Comedy | Horror\nPace: Slow", TAXONOMY) == Reading({"Pace": "Slow"}, outside=1)


def test_of_two_values_the_first_counts():
    assert read("Genre: Horror and Comedy", TAXONOMY).values == {"Genre": "Horror"}


@pytest.mark.parametrize(
    ("said", "value"),
    [
        ("Science fiction", "Science Fiction"),
        ("science-fiction!", "Science Fiction"),
        ("Non-fiction", "Non-Fiction"),
        ("FICTION", "Fiction"),
        ("fictional", ""),
        ("7", ""),
        ("rated 7+", "7+"),
    ],
)
def test_values_are_whole_words_the_longest_first(said, value):
    assert chosen_value(said, ["Fiction", "Non-Fiction", "Science Fiction", "7+"]) == value


def test_of_two_values_one_within_the_other_the_longer_is_a_choice():
    assert chosen_value("Non-Fiction", ["Fiction", "Non-Fiction"]) == "Non-Fiction"


def test_without_names_only_values_of_one_feature_speak_for_themselves():
    sizes = Taxonomy({"Size": ("Small", "Medium"), "Price": ("Cheap", "Medium")})
    assert read("medium", sizes) == Reading({}, outside=1)
    assert read("Small, Medium", sizes).values == {"Size": "Small"}
    assert read("Price: medium", sizes).values == {"Price": "Medium"}


def test_a_feature_whose_name_ends_like_another():
    two = Taxonomy({"Genre": ("Drama", "Comedy"), "Sub-Genre": ("Dark Comedy", "Satire", "Drama")})
    assert read("Sub genre: Drama\nGenre: Comedy", two).values == {"Genre": "Comedy", "Sub-Genre": "Drama"}


def test_signs_in_a_name_need_not_be_said_alike():
    taxonomy = Taxonomy({"Plot & Setting": ("City", "Country"), "Cast+": ("Stars", "Unknowns")})
    assert read("Plot + Setting: City\nCast+: Stars", taxonomy).values == {"Plot & Setting": "City", "Cast+": "Stars"}
