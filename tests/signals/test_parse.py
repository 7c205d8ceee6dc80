from __future__ import annotations

import pytest

from lamar.params import SignalRules
from lamar.signals.parse import clean, problem

RULES = SignalRules(min_words=3, max_words=6)


@pytest.mark.parametrize(
    ("answer", "signal"),
    [
        ("Warm rock for small clubs.", "Warm rock for small clubs."),
        ("  Warm rock\n\n for\tsmall clubs. \n", "Warm rock for small clubs."),
        ('"Warm rock for small clubs."', "Warm rock for small clubs."),
        ("“Warm rock for small clubs.”", "Warm rock for small clubs."),
        ("Music Genre: Warm rock", "Warm rock"),
        ("music genre : Warm rock", "Warm rock"),
        ("Music Genre - Warm rock", "Warm rock"),
        ("Music Genre – Warm rock", "Warm rock"),
        ("**Music Genre:** Warm rock", "Warm rock"),
        ("**Music Genre**: Warm rock", "Warm rock"),
        ('Music Genre: "Warm rock"', "Warm rock"),
        ("`Music Genre: Warm rock`", "Warm rock"),
        ("Music Genre-bending rock", "Music Genre-bending rock"),
        ("Music Genres from rock to jazz", "Music Genres from rock to jazz"),
        ("Warm rock; Music Genre: any", "Warm rock; Music Genre: any"),
        ("Music Genre:", ""),
        ("", ""),
    ],
)
def test_clean(answer: str, signal: str) -> None:
    assert clean(answer, "Music Genre") == signal


@pytest.mark.parametrize("answer", ["Pet's Specific Need: Firm bed", "Pet’s Specific Need: Firm bed"])
def test_a_name_with_either_apostrophe(answer: str) -> None:
    assert clean(answer, "Pet's Specific Need") == "Firm bed"


def test_a_name_is_no_pattern() -> None:
    assert clean("Use (main): cuts glass", "Use (main)") == "cuts glass"


@pytest.mark.parametrize(
    ("signal", "finish_reason", "reason"),
    [
        ("Cuts glass at home.", "stop", None),
        ("Cuts glass well.", "stop", None),
        ("Cuts thick glass at home quickly.", "stop", None),
        ("", "stop", "empty"),
        ("", "length", "empty"),
        ("Cuts glass at", "length", "truncated"),
        ("I'm sorry, no.", "stop", "refusal"),
        ("I’m unable to tell.", "stop", "refusal"),
        ("I can't say that.", "stop", "refusal"),
        ("As an AI language model I cannot know what this very long product is.", "stop", "refusal"),
        ("Cuts glass.", "stop", "too short"),
        ("Cuts thick glass at home quite quickly.", "stop", "too long"),
        ("diamond GLASS cutter.", "stop", "repeats the title"),
        ("Diamond glass cutter for glass", "stop", None),
        ("Sorry cannot is a song", "stop", None),
    ],
)
def test_why_a_signal_is_not_kept(signal: str, finish_reason: str, reason: str | None) -> None:
    assert problem(signal, "Diamond Glass Cutter", finish_reason, RULES) == reason
