"""Which answers are kept: rules for all signals together by hand, and the whole way with a real sentence encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_encoder import write_encoder

from lamar.errors import LamarError
from lamar.params import SignalRules, load
from lamar.signals.keep import SCHEMA, contradictions, formulas, judged
from lamar.signals.prompt import Prompt
from lamar.signals.similarity import chance, encode
from lamar.text.items import enriched, read_signals

REPOSITORY = Path(__file__).parents[2]
MINILM = REPOSITORY / "models/backbones/minilm"
RULES = load(REPOSITORY / "params.yaml").signals
PROMPT = Prompt("Use", "Write the use.", (({"title": "Saw"}, "Cuts wooden boards for shelves and tables at home."),))
ANSWERS = {
    "a": ("Use: Playing soft music at home in the evening.", "stop"),
    "b": ("**Cuts metal pipes** in a small workshop.", "stop"),
    "c": ("As an AI I cannot tell.", "stop"),
    "d": ("Keeps the kitchen bright when", "length"),
}
ITEMS = pl.DataFrame(
    {
        "item": range(4),
        "item_id": list("abcd"),
        "title": ["Acoustic guitar", "Hacksaw", "Thing", "Lamp"],
        "brand": ["Acme", "", None, "Acme"],
    }
)


USES = {
    "SPAX Yellow Zinc Wood Screw": "Fastening wooden boards and panels without drilling first.",
    "Lallemand Nottingham Ale Yeast": "Fermenting home-brewed ale in small batches.",
    "Littmann Classic Stethoscope": "Listening to heart and lung sounds in hospitals and clinics.",
    "Copper Ground Wire": "Grounding electrical circuits and panels against shocks.",
    "Oral-B Electric Toothbrush": "Brushing teeth and removing plaque every day.",
    "Pyrex Beaker 250 ml": "Mixing and heating liquids in chemistry laboratories.",
    "3D Printer Filament PLA": "Printing prototypes and toys on a desktop printer.",
    "Accuform Danger Diesel Fuel Sign": "Warning workers of flammable fuel near tanks and pumps.",
    "Hub City Pillow Block Bearing": "Supporting rotating shafts of conveyors and machines.",
    "Nitrile Gloves, Powder Free": "Protecting hands from germs and chemicals in clinics.",
    "Extech Digital Multimeter": "Measuring voltage, current and resistance of circuits.",
    "Gorilla Super Glue Gel": "Bonding broken ceramic, plastic and rubber parts.",
    "Dust Mask N95": "Keeping dust and fumes out of the lungs while sanding.",
    "Garden Hose Quick Connector": "Joining water hoses to taps without tools.",
    "Digital Caliper 6 inch": "Measuring the thickness and diameter of small parts.",
    "Thermal Receipt Paper Rolls": "Printing sales slips at shop counters.",
    "Silicone Baking Mat": "Baking cookies and pastry without greasing the tray.",
    "LED Headlamp Rechargeable": "Lighting the way of hikers and mechanics in the dark.",
    "Forklift Seat Belt": "Holding forklift drivers safely in their seats.",
    "Microscope Slides, 72 Pack": "Looking at blood, cells and plants in biology classes.",
}


def answers(texts: dict[str, tuple[str, str]]) -> pl.DataFrame:
    rows = [(item_id, *answer) for item_id, answer in texts.items()]
    return pl.DataFrame(rows, schema=["item_id", "text", "finish_reason"], orient="row")


def rules(**changes: float) -> SignalRules:
    return SignalRules(**RULES.model_dump() | changes)


def unit(*angles: float) -> np.ndarray:
    """Vectors of the plane at these angles, in degrees."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random BERT that reads the words of this file."""
    folder = tmp_path_factory.mktemp("encoder")
    write_encoder(folder, [*(text for text, _ in ANSWERS.values()), *ITEMS["title"]])
    return folder


def test_a_threshold_is_the_quantile_of_chance_pairs() -> None:
    said, about = unit(*range(0, 200, 10)), unit(*range(100, 300, 10))
    others = (said @ about.T)[~np.eye(20, dtype=bool)]
    for quantile in (0.1, 0.5, 0.9):
        assert chance(said, about, quantile) == pytest.approx(np.quantile(others, quantile))


def test_few_texts_tell_no_quantile() -> None:
    assert chance(unit(*range(19)), unit(*range(19)), 0.5) == -1


def test_chance_is_measured_on_fifty_partners_and_never_on_itself() -> None:
    vectors = np.eye(1000, dtype=np.float32)
    assert chance(vectors, vectors, 1.0) == 0


def test_a_signal_that_fits_other_items_better_contradicts_its_own() -> None:
    about = unit(*range(0, 200, 10))
    said = unit(*range(0, 190, 10), 10)
    assert list(contradictions([], said, about, rules(contradiction=0.1))) == [19]
    assert list(contradictions([], about, about, rules(contradiction=0.1))) == []


def test_a_wording_is_for_items_of_one_kind() -> None:
    """Five items of one kind share a signal, four of all kinds share another; three may always share one."""
    angles = [10, 11, 12, 13, 14, 0, 90, 180, 270, 45, 135, 225, *range(0, 360, 24)]
    signals = ["Replaces worn balls."] * 5 + ["Finds his true self."] * 4 + ["Warm, funny tale."] * 3
    signals += [f"Number {number}." for number in range(15)]
    found = formulas(signals, unit(*angles), unit(*angles), rules(max_shared=3, alike=0.9))
    assert sorted(found) == [5, 6, 7, 8]
    found = formulas(signals, unit(*angles), unit(*angles), rules(max_shared=2, alike=0.9))
    assert sorted(found) == [5, 6, 7, 8, 9, 10, 11]


def test_a_wording_is_told_by_its_words() -> None:
    calm, other = "A calm journey of a man who finds his true self at home.", "A calm journey of a woman to her home."
    signals = [calm, other, calm.upper(), calm.replace("calm", "quiet"), *(f"Number {n}." for n in range(20))]
    angles = unit(0, 90, 180, 270, *range(0, 360, 18))
    assert sorted(formulas(signals, angles, angles, rules(max_shared=2, copy_similarity=0.8))) == [0, 2, 3]


def test_the_whole_way(encoder: Path) -> None:
    signals = judged(answers(ANSWERS), ITEMS, ["title", "brand"], PROMPT, RULES, encoder)
    assert dict(signals.schema) == SCHEMA
    assert signals.rows() == [
        ("a", "Use", "Playing soft music at home in the evening.", True, ""),
        ("b", "Use", "Cuts metal pipes in a small workshop.", True, ""),
        ("c", "Use", "As an AI I cannot tell.", False, "refusal"),
        ("d", "Use", "Keeps the kitchen bright when", False, "truncated"),
    ]


def test_a_maker_is_a_brand(encoder: Path) -> None:
    """README's own catalogue calls it so."""
    shop = ITEMS.rename({"brand": "maker"}).with_columns(maker=pl.Series(["Acme", "Corning", None, "Acme"]))
    said = answers({"a": ("Sounds as good as those of Corning at home.", "stop"), "b": ANSWERS["b"]})
    assert judged(said, shop, ["title", "maker"], PROMPT, RULES, encoder)["reason"].to_list() == [
        "a brand the item does not have",
        "",
    ]


def test_nothing_left_to_compare_needs_no_encoder(tmp_path: Path) -> None:
    bad = answers(dict.fromkeys("abcd", ("", "stop")))
    signals = judged(bad, ITEMS, ["title"], PROMPT, RULES, tmp_path / "none")
    assert signals["reason"].to_list() == ["empty"] * 4


def test_a_missing_encoder_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(LamarError, match=r"model\.safetensors: no such file; run dvc repro backbone"):
        judged(answers(ANSWERS), ITEMS, ["title"], PROMPT, RULES, tmp_path)


def test_vectors_have_length_one_and_come_in_the_order_of_the_texts(encoder: Path) -> None:
    texts = ["hacksaw", "playing soft music at home in the evening", "lamp", "hacksaw"]
    vectors = encode(texts, encoder)
    assert np.allclose((vectors**2).sum(1), 1, atol=1e-5)
    assert np.array_equal(vectors[0], vectors[3])
    assert np.allclose(vectors[1:3], encode(texts[1:3], encoder), atol=1e-6)


def test_an_item_without_a_signal_reads_as_it_did_before(encoder: Path, tmp_path: Path) -> None:
    """From the answer to the tokens: what is not kept leaves the item's own attributes, and no empty text."""
    from tokenizers import Tokenizer

    from lamar.text.tokens import tokenise

    judged(answers(ANSWERS), ITEMS, ["title"], PROMPT, RULES, encoder).write_parquet(tmp_path / "signals.parquet")
    signals = read_signals(str(tmp_path / "signals.parquet"))
    tokenizer = Tokenizer.from_file(str(encoder / "tokenizer.json"))
    with_signals, without = (
        tokenise(enriched(ITEMS, ["title"], chosen), tokenizer, attribute_tokens=32) for chosen in ([signals], [])
    )
    pieces = [np.split(each.tokens, each.offsets[1:-1]) for each in (with_signals, without)]
    for number, (enriched_tokens, own) in enumerate(zip(*pieces, strict=True)):
        kept = ITEMS["item_id"][number] in {"a", "b"}
        assert len(own) > 0
        assert (len(enriched_tokens) > len(own)) == kept
        assert np.array_equal(enriched_tokens[: len(own)], own)


@pytest.mark.skipif(not MINILM.exists(), reason="models/backbones/minilm is not here: dvc repro backbone")
def test_minilm_finds_the_signals_of_other_items() -> None:
    """Real products; two signals are swapped."""
    titles, signals = list(USES), list(USES.values())
    signals[1], signals[8] = signals[8], signals[1]
    vectors = encode([*signals, *titles], MINILM)
    said, about = vectors[: len(titles)], vectors[len(titles) :]
    assert list(contradictions([], said, about, rules(contradiction=0.5))) == [1, 8]
