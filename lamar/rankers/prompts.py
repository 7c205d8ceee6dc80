"""The text of a pool: the history, the candidates, the question, and what each candidate's answer would be."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from lamar.rankers.pools import Pool
from lamar.signals.prompt import as_data

QUESTION = {
    "title": "Which candidate does the user choose next? Answer with its title, exactly as written above.",
    "label": "Which candidate does the user choose next? Answer with its number alone.",
}


class Catalogue:
    """Every item as one line of key-value text, and its title."""

    def __init__(self, items: pl.DataFrame, words: int) -> None:
        """`items`: the columns of the sequences stage, the first being the item, the second its title.

        An attribute is cut after `words` words; one without text is left out. An item's text is data: its line breaks
        become spaces, and nothing in it ends a turn of the chat.
        """
        names = items.columns[1:]
        rows = [[" ".join(as_data(text).split()[:words]) for text in row[1:]] for row in items.iter_rows()]
        self.titles = [row[0] for row in rows]
        self.lines = [
            "; ".join(f"{name}: {text}" for name, text in zip(names, row, strict=True) if text) for row in rows
        ]

    def question(self, pool: Pool, answer: str) -> str:
        """The text that asks for the next item; `answer`: title or label."""
        chosen = "\n".join(f"{place}. {self.lines[item]}" for place, item in enumerate(pool.history, start=1))
        shown = "\n".join(f"{place}. {self.lines[item]}" for place, item in enumerate(pool.candidates, start=1))
        return f"A user chose these items, oldest first:\n{chosen}\n\nCandidates:\n{shown}\n\n{QUESTION[answer]}"

    def answers(self, pool: Pool, answer: str) -> list[str]:
        """What is answered for each candidate; `answer`: title or label."""
        return ANSWERS[answer](self, pool)


ANSWERS: dict[str, Callable[[Catalogue, Pool], list[str]]] = {
    "title": lambda catalogue, pool: [catalogue.titles[item] for item in pool.candidates],
    "label": lambda catalogue, pool: [str(place) for place in range(1, len(pool.candidates) + 1)],
}
