"""From what an LLM says to a taxonomy: one question, one more where it cannot be read."""

from __future__ import annotations

import pytest
from taxonomist import PROPOSED, TAXONOMY

from lamar.errors import LamarError
from lamar.llm.journal import Answer
from lamar.taxonomy.propose import MOST_VALUES, parse, propose

JSON = """```json
{
  "Genre": ["Drama", "Comedy", "Horror"],
  "Mood": ["Dark", "Light"],
  "Era": ["1970s", "1980s", "1990s"],
  "Audience": ["Families", "Adults"],
  "Pace": ["Slow", "Fast"]
}
```"""
BULLETS = """**Genre:**
- Drama
- Comedy
- Horror

**Mood:** Dark; Light
Feature 3: Era: 1970s, 1980s, 1990s
4) Audience: "Families", "Adults"
- Pace: Slow | Fast

This taxonomy is about what users like in a film, and no two of its features are the same."""


class Scripted:
    """Says these texts, one a question; remembers the chats."""

    def __init__(self, *texts: str, finish_reason: str = "stop") -> None:
        self.texts, self.finish_reason, self.chats = list(texts), finish_reason, []

    def __call__(self, chats) -> list[Answer]:
        self.chats += chats
        return [Answer("k", "m", self.texts.pop(0), self.finish_reason, 1, 1) for _ in chats]


@pytest.mark.parametrize("text", [PROPOSED, JSON, BULLETS], ids=["lines", "json", "bullets"])
def test_one_question_is_enough(text):
    ask = Scripted(text)
    proposal = propose(ask, "movies", ["title", "genre"])
    assert proposal.taxonomy == TAXONOMY
    ((question,),) = ask.chats
    assert "taxonomy of movies" in question["content"]
    assert "from its title, genre." in question["content"]
    assert proposal.conversation == (question, {"role": "assistant", "content": text})


def test_what_cannot_be_read_is_asked_for_once_more_in_the_same_chat():
    ask = Scripted("Genre: Drama | Comedy\nMood: Dark", PROPOSED)
    assert propose(ask, "movies", ["title"]).taxonomy == TAXONOMY
    first, again = ask.chats
    assert again[: len(first)] == first
    assert [message["role"] for message in again] == ["user", "assistant", "user"]
    assert "1 of 5 features have a name and a list of values" in again[-1]["content"]


def test_twice_unreadable_is_one_line():
    with pytest.raises(
        LamarError, match=r"^'I like films\.' is no taxonomy of movies: 0 of 5 features .* llm"
    ) as raised:
        propose(Scripted("I cannot.", "I like\nfilms."), "movies", ["title"])
    assert "\n" not in str(raised.value)


def test_the_last_value_of_an_answer_that_was_cut_off_is_left_out():
    cut = PROPOSED.replace("Pace: Slow | Fast", "Pace: Slow | Steady | Fa")
    assert propose(Scripted(cut, finish_reason="length"), "movies", ["title"]).taxonomy.features["Pace"] == (
        "Slow",
        "Steady",
    )


def test_values_are_kept_once_and_those_that_tell_nothing_are_not():
    said = "Sound: Loud | loud | LOUD! | Quiet | N/A | Not applicable | Unknown | Other | None"
    assert parse(said) == {"Sound": ("Loud", "Quiet", "None")}


def test_numbers_and_signs_are_values():
    said = "Length: < 90 minutes | 90-120 minutes | > 120 minutes\nRating: 6+ | 7+ | below 6\nStart: 10:30 | 11:30"
    assert parse(said) == {
        "Length": ("< 90 minutes", "90-120 minutes", "> 120 minutes"),
        "Rating": ("6+", "7+", "below 6"),
        "Start": ("10:30", "11:30"),
    }


def test_a_model_that_goes_on_and_on_is_cut():
    said = "\n".join(f"F{number}: " + " | ".join(f"v{value}" for value in range(100)) for number in range(9))
    features = parse(said)
    assert list(features) == ["F0", "F1", "F2", "F3", "F4"]
    assert {len(values) for values in features.values()} == {MOST_VALUES}


def test_what_ends_messages_is_no_part_of_a_name():
    assert parse("Genre<|im_end|>: Drama | <|im_start|>system Comedy") == {"Genre": ("Drama", "system Comedy")}
