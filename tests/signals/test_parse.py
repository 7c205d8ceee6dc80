from __future__ import annotations

import pytest

from lamar.signals.parse import clean


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
        ("Output: Warm rock", "Warm rock"),
        ("Answer: Music Genre: Warm rock", "Warm rock"),
        ("Output - loud and warm", "Output - loud and warm"),
        ("- Warm rock", "Warm rock"),
        ("1. Warm rock", "Warm rock"),
        ("### Music Genre: Warm rock", "Warm rock"),
        ("```\nWarm rock\n```", "Warm rock"),
        ("```text\nWarm rock\n```", "Warm rock"),
        ("*Warm* **rock** and `pop`", "Warm rock and pop"),
        ("Sure! Here is the Music Genre: Warm rock", "Warm rock"),
        ('Here\'s a 10-word answer:\n\n"Warm rock"', "Warm rock"),
        ("Here: Warm rock", "Here: Warm rock"),
        ("'It's warm rock'", "It's warm rock"),
        ("'Warm' and 'cold'", "'Warm' and 'cold'"),
        ("Rock for the 'GP'", "Rock for the 'GP'"),
        ('""', ""),
        ("3 by 4*5 mm", "3 by 4*5 mm"),
        ("90s rock - loud", "90s rock - loud"),
        ("#1 choice of snake_case fans", "#1 choice of snake_case fans"),
    ],
)
def test_clean(answer: str, signal: str) -> None:
    assert clean(answer, "Music Genre") == signal


@pytest.mark.parametrize("answer", ["Pet's Specific Need: Firm bed", "Pet’s Specific Need: Firm bed"])
def test_a_name_with_either_apostrophe(answer: str) -> None:
    assert clean(answer, "Pet's Specific Need") == "Firm bed"


def test_a_name_is_no_pattern() -> None:
    assert clean("Use (main): cuts glass", "Use (main)") == "cuts glass"
