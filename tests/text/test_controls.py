"""Controls are as long as the signals and lack one thing each."""

from collections import Counter
from typing import get_args

import polars as pl
import pytest

from lamar.errors import LamarError
from lamar.params import Features
from lamar.text.controls import CONTROLS, WITHOUT_ATTRIBUTES, description, random_words, shuffled
from lamar.text.items import Signals

NO_ITEMS = pl.DataFrame({"item_id": []})
SIGNALS = Signals("Use", {"x": "cuts wood and metal", "y": "cuts paper", "z": "glues"})
ITEMS = pl.DataFrame({"item_id": ["x", "y", "z"], "description": ["One two three four five six", "Short", ""]})


def test_every_control_of_params_is_known():
    assert set(get_args(Features.model_fields["control"].annotation)) == CONTROLS.keys()
    assert CONTROLS.keys() > WITHOUT_ATTRIBUTES


def test_a_control_without_signals_has_no_length():
    with pytest.raises(ValueError, match="a control needs signals"):
        Features(signals=[], control="shuffled")


@pytest.mark.parametrize("name", ["none", "signal-only"])
def test_two_leave_the_signals_as_they_are(name):
    assert CONTROLS[name](SIGNALS, ITEMS, 0) == SIGNALS


def test_a_description_is_cut_to_the_length_of_the_signal():
    cut = description(SIGNALS, ITEMS, 0)
    assert cut == Signals("description", {"x": "One two three four", "y": "Short", "z": ""})


def test_without_descriptions_it_is_an_error():
    with pytest.raises(LamarError, match="no column 'description'"):
        description(SIGNALS, ITEMS.drop("description"), 0)


def test_random_words_keep_the_length_and_draw_from_all_signals():
    drawn = random_words(SIGNALS, ITEMS, 0)
    assert drawn.name == "Use"
    assert {item: len(text.split()) for item, text in drawn.texts.items()} == {"x": 4, "y": 2, "z": 1}
    known = {word for text in SIGNALS.texts.values() for word in text.split()}
    assert all(set(text.split()) <= known for text in drawn.texts.values())


def test_random_words_are_drawn_as_often_as_signals_use_them():
    signals = Signals("Use", {str(number): "often often often rare" for number in range(500)})
    drawn = Counter(word for text in random_words(signals, NO_ITEMS, 1).texts.values() for word in text.split())
    assert drawn["often"] / drawn.total() == pytest.approx(0.75, abs=0.03)


def test_random_words_hang_on_the_seed_alone():
    reordered = Signals("Use", dict(reversed(SIGNALS.texts.items())))
    assert random_words(SIGNALS, ITEMS, 2) == random_words(reordered, ITEMS, 2)
    assert random_words(SIGNALS, ITEMS, 2) != random_words(SIGNALS, ITEMS, 3)


def many(count: int) -> Signals:
    return Signals("Mood", {f"item {number}": f"text {number}" for number in range(count)})


@pytest.mark.parametrize("count", [2, 3, 50])
@pytest.mark.parametrize("seed", range(5))
def test_shuffled_gives_every_item_the_signal_of_another(count, seed):
    signals = many(count)
    placebo = shuffled(signals, NO_ITEMS, seed)
    assert placebo.name == signals.name
    assert placebo.texts.keys() == signals.texts.keys()
    assert Counter(placebo.texts.values()) == Counter(signals.texts.values())
    assert all(placebo.texts[item] != text for item, text in signals.texts.items())


def test_shuffled_hangs_on_its_seed_alone():
    signals = many(50)
    reordered = Signals("Mood", dict(reversed(signals.texts.items())))
    assert shuffled(signals, NO_ITEMS, 3) == shuffled(reordered, NO_ITEMS, 3)
    assert shuffled(signals, NO_ITEMS, 3) != shuffled(signals, NO_ITEMS, 4)


@pytest.mark.parametrize("count", [0, 1])
def test_there_is_nothing_to_shuffle(count):
    assert shuffled(many(count), NO_ITEMS, 0) == many(count)
