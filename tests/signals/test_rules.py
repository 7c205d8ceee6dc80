"""Rules for one signal. Many of the examples are answers that a real model gave."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from lamar.params import SignalRules, load
from lamar.signals.prompt import load_prompt
from lamar.signals.rules import NUMBER, Candidate, Context, brands_of, context_of, problem

REPOSITORY = Path(__file__).parents[2]
RULES = load(REPOSITORY / "params.yaml").signals
PROMPT = load_prompt("scientific")
BRANDS = ["Corning", "3M", "Reach", "National Hardware", "generic", "Stanley"]
SPEECH = ["Tools that reach high shelves.", "Cleaning glass at home."]


@pytest.fixture(scope="module")
def context() -> Context:
    return context_of(RULES, PROMPT, BRANDS, SPEECH)


def reason(context: Context, signal: str, item: str = "Diamond Glass Cutter, Acme", finish: str = "stop") -> str | None:
    return problem(Candidate(signal, item, finish), context)


def bounded(context: Context, **bounds: int) -> Context:
    return replace(context, rules=SignalRules(**RULES.model_dump() | bounds))


@pytest.mark.parametrize(
    ("signal", "finish", "expected"),
    [
        ("Cuts glass at home.", "stop", None),
        ("", "stop", "empty"),
        ("", "length", "empty"),
        ("Cuts glass at", "length", "truncated"),
        ("Cuts glass at home.", "content_filter", "stopped by the provider"),
        ("I'm sorry, no.", "stop", "refusal"),
        ("I’m unable to tell.", "stop", "refusal"),
        ("I can't say that.", "stop", "refusal"),
        ("As an AI language model I cannot know what this very long product is.", "stop", "refusal"),
        ("No primary use case provided.", "stop", "refusal"),
        ("There is no information about the product available.", "stop", "refusal"),
        ("Unknown genre, unknown title.", "stop", "refusal"),
        ("No mood and themes available.", "stop", "refusal"),
        ("Unknown.", "stop", "refusal"),
        ("Unknown to all, a thief cuts glass.", "stop", None),
        ("Runs on mains power, with no cable provided.", "stop", None),
        ("Fear of the unknown in a dark house.", "stop", None),
        ("Lets no dust settle on the glass.", "stop", None),
        ("Sorry cannot is a song about glass.", "stop", None),
        ("Cuts glass, see https://example.org for more.", "stop", "a link or markup"),
        ("Cuts glass <img src=x> at home.", "stop", "a link or markup"),
        ("Cuts glass < five mm and > two mm thin.", "stop", None),
    ],
)
def test_what_is_no_answer(context: Context, signal: str, finish: str, expected: str | None) -> None:
    assert reason(context, signal, finish=finish) == expected


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ("Cuts glass.", "too short"),
        ("Cuts glass well.", None),
        ("Cuts thick glass at home quickly.", None),
        ("Cuts thick glass at home quite quickly.", "too long"),
    ],
)
def test_the_bounds_in_words(context: Context, signal: str, expected: str | None) -> None:
    assert reason(bounded(context, min_words=3, max_words=6), signal) == expected


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ("diamond GLASS cutter.", "repeats the metadata"),
        ("Acme Diamond Glass Cutter", "repeats the metadata"),
        ("Diamond glass cutter for glass", None),
        ("The diamond glass cutter, Acme", "repeats the metadata"),
        ("Diamond glass cutter for windows", None),
        ("Glass cutter, diamond grade, and nothing more by Acme", None),
    ],
)
def test_an_echo_of_the_item(context: Context, signal: str, expected: str | None) -> None:
    assert reason(context, signal) == expected


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ("Do not include the use case in your answer: who uses it, where", None),
        ("Do not include Primary Use Case in your answer.", "repeats the prompt"),
        ("The output must be the Primary Use Case of the product.", "repeats the prompt"),
        ("Holding, mixing and heating liquid samples in school kitchens.", "repeats the prompt"),
        ("Holding, mixing and heating liquid samples at home.", None),
        ("Brady 118286 Lockout Hasp, Steel, 1-1/2 inch Jaw, Red: prevents shocks.", "repeats the prompt"),
    ],
)
def test_an_echo_of_the_prompt(context: Context, signal: str, expected: str | None) -> None:
    assert reason(context, signal) == expected


@pytest.mark.parametrize(
    "signal",
    [
        "Zum Schneiden von Glas in der Werkstatt und zu Hause.",
        "Para cortar vidrio en casa o en el taller, con cuidado.",
        "Идеально подходит для резки стекла дома.",
        "用于在家中切割玻璃 的 工具 。",
    ],
)
def test_another_language_than_the_examples(context: Context, signal: str) -> None:
    assert reason(context, signal) == "another language"


def test_the_language_is_that_of_the_examples() -> None:
    german = replace(PROMPT, examples=(({"title": "Säge"}, "Zum Sägen von Holz in der Werkstatt und im Garten."),))
    context = context_of(RULES, german, [], [])
    assert context.language == "de"
    assert reason(context, "Zum Schneiden von Glas in der Werkstatt und zu Hause.") is None
    assert reason(context, "Cuts thick glass in the workshop and at home.") == "another language"


def test_examples_in_no_clear_language_let_all_pass() -> None:
    unclear = replace(PROMPT, examples=(({"title": "a"}, "1 2 3"),))
    context = context_of(RULES, unclear, [], [])
    assert context.language == ""
    assert reason(context, "Zum Schneiden von Glas in der Werkstatt und zu Hause.") is None


@pytest.mark.parametrize(
    ("item", "signal", "expected"),
    [
        ("Beaker, 250 ml", "Holds 600 ml of liquid samples.", "a number the item does not have"),
        ("Beaker, 250 ml", "Holds 250 ml of liquid samples.", None),
        ("Beaker, 250ml", "Holds 250 ml of liquid samples.", None),
        ("Weights, 1,000 g", "Weighs 1000 g of flour.", None),
        ("Weights, 1000 g", "Weighs 1,000 g of flour.", None),
        ("Hose, 1/2 inch", "Carries water through 3/4 inch pipes.", "a number the item does not have"),
        ("Hose, 1/2 inch", "Carries water through 1/2 inch pipes.", None),
        ("Hose", "Carries water for 2 people.", "a number the item does not have"),
        ("Hose, set of 2", "Carries water for 2 people.", None),
        ("Cable 2 m", "Fills 500ml bottles in the lab.", "a number the item does not have"),
        ("Card", "Keeps 64GB of photographs.", "a number the item does not have"),
        ("Card, 64 GB", "Keeps 64GB of photographs.", None),
        ("Mask, N95", "Keeps dust off, as N100 masks do.", "a number the item does not have"),
        ("Beaker, 1250 ml", "Holds 25 samples in school laboratories.", "a number the item does not have"),
        ("Beaker, 1250-25 A", "Holds 25 samples in school laboratories.", None),
        ("Tape, 0.5 inch", "Seals 1/2 inch pipes.", None),
        ("Tape, .50 inch", "Seals 0.5 inch pipes.", None),
        ("Tape, 1-1/2 inch", "Seals 1.5 inch pipes.", None),
        ("Charger, 12/24V", "Charges 24V batteries of trucks.", None),
        ("Filament PLA", "Prints models on a 3D printer, or 2-D signs.", None),
        ("Hose, 99999999999999999999999999 m", "Carries water for 1/0 people.", "a number the item does not have"),
        ("Lamp", "Lights the shop 24/7 and 100% of it.", None),
        ("Meet Me in St. Louis (1944)", "A family in the 1940s, and the 20th century.", None),
    ],
)
def test_a_number_of_its_own(context: Context, item: str, signal: str, expected: str | None) -> None:
    assert reason(context, signal, item) == expected


def test_numbers_in_a_text() -> None:
    text = "24/7, 1-1/2, 3.5 mm, 1,000.50 M3x.5, 1,5. No 7, 12/31/99"
    assert NUMBER.findall(text) == ["24/7", "1", "1/2", "3.5", "1,000.50", "3", ".5", "1", "5", "7", "12/31", "99"]


@pytest.mark.parametrize(
    ("item", "signal", "expected"),
    [
        ("Beaker by Acme", "Made like those of Corning for labs.", "a brand the item does not have"),
        ("Beaker by Acme", "Fits the rails of National Hardware, too.", "a brand the item does not have"),
        ("Beaker by Acme", "Sold by National parks only.", None),
        ("CORNING beaker", "Made like those of Corning for labs.", None),
        ("Beaker by Acme", "Stanley cups hold water. Corning glass does so.", None),
        ("Beaker by Acme", "Lets you Reach high shelves.", None),
        ("Beaker by Acme", "A generic and stanley cup.", None),
    ],
    ids=["another's", "two words", "half a name", "its own", "starts a sentence", "everyday word", "lower case"],
)
def test_a_brand_of_another_item(context: Context, item: str, signal: str, expected: str | None) -> None:
    assert reason(context, signal, item) == expected


def test_the_examples_of_the_shipped_prompts_break_no_rule() -> None:
    """But for repeating the prompt, which they are."""
    prompts = sorted({dataset.prompt for dataset in load(REPOSITORY / "params.yaml").datasets.values()})
    for prompt in map(load_prompt, prompts):
        context = replace(context_of(RULES, prompt, [], []), phrases=frozenset())
        assert context.language == "en"
        for item, signal in prompt.examples:
            assert reason(context, signal, ", ".join(item.values())) is None, signal


def test_brands_stand_in_whatever_column_the_catalogue_has_for_them() -> None:
    items = pl.DataFrame({"item_id": ["a", "b"], "name": ["Saw", "Drill"], "Maker": ["Acme", None], "room": ["x", "y"]})
    assert brands_of(items, ["name", "Maker", "room"], RULES) == ["Acme"]
    assert brands_of(items.rename({"Maker": "brand"}), ["name", "brand"], RULES) == ["Acme"]
    assert brands_of(items, ["name", "room"], RULES) == []
