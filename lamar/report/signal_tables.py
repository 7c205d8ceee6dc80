"""The tables of one generator's signals."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lamar.analysis.ratings import QUESTIONS
from lamar.report.text import Table, some

if TYPE_CHECKING:
    from lamar.report.catalogue import SignalSet
    from lamar.report.chapter import Chapter


def quality_table(chapter: Chapter, signals: SignalSet) -> list[Table]:
    """What became of every answer."""
    rows = [[*row] for row in described(signals.quality)]
    return some(f"Quality of {signals.generator} on {chapter.name}.", ["statistic", "value"], rows, text_columns=2)


def described(values: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of statistics as text: shares in percent, parts of a value in one line."""
    return [(key.replace("_", " "), _described(key, value)) for key, value in values.items()]


def _described(key: str, value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_described('', part)}" for name, part in value.items()) or "none"
    if key.endswith("share"):
        return f"{100 * value:.1f}%"
    return value if isinstance(value, str) else f"{value:,}"


def ratings_table(chapter: Chapter, signals: SignalSet) -> list[Table]:
    """What people said, and the paper's of its own signals where they are of such datasets."""
    found, paper = signals.ratings, chapter.evidence.rated
    raters = found.get("raters", 0)
    people = "1 person" if raters == 1 else f"{raters} people"
    own = [[signals.generator, people, name, *_rated(found[name])] for name in QUESTIONS] if raters else []
    head = ["signals of", "raters", "question", "average", "percent", "alpha"]
    rows = own + (_paper_ratings(paper) if paper else [])
    return some(f"Ratings of {signals.generator} on {chapter.name} by people.", head, rows, text_columns=3)


def _paper_ratings(paper: dict[str, Any]) -> list[list[str]]:
    return [
        [system, paper["table"], name, f"{sums[name]:.2f}", f"{sums[name] / paper['items']:.1%}", "–"]
        for system, sums in paper["systems"].items()
        for name in QUESTIONS
    ]


def judges_table(chapter: Chapter, signals: SignalSet) -> list[Table]:
    """What LLM judges said."""
    found = signals.ratings
    rows = [
        [judge["name"] + (" (wrote them itself)" if judge["name"] == signals.generator else ""), question]
        + _rated(judge[question], missing="–" if found["raters"] else "not yet rated")
        + [f"{judge['read']} of {found['items']}"]
        for judge in found.get("judges", [])
        for question in QUESTIONS
    ]
    head = ["LLM judge", "question", "average", "percent", "alpha with the people’s median", "answers read"]
    return some(f"LLM judges of {signals.generator} on {chapter.name}.", head, rows, text_columns=2)


def _rated(told: dict[str, float | None], missing: str = "–") -> list[str]:
    alpha = missing if told["alpha"] is None else f"{told['alpha']:.2f}"
    return [f"{told['average']:.2f}", f"{told['percent']:.1f}%", alpha]


def similarity_table(chapter: Chapter, signals: SignalSet) -> list[Table]:
    """Signals that are similar to more than a tenth of the others, by model and threshold."""
    rows = [
        [line.model, f"{at:g}", f"{count:,}", f"{share:.1%}"]
        for line in signals.lines
        for at, count, share in line.rows
    ]
    caption = f"Similarity of {signals.generator} on {chapter.name}."
    return some(caption, ["model", "cosine", "signals", "share"], rows)


def templates_table(chapter: Chapter, signals: SignalSet) -> list[Table]:
    """Most frequent first words, and signals that are the same but for rare words."""
    found = [*signals.diversity.get("openings", []), *signals.diversity.get("skeletons", [])]
    rows = [[one["text"], f"{one['signals']:,}", f"{one['share']:.1%}"] for one in found]
    return some(f"Templates of {signals.generator} on {chapter.name}.", ["template", "signals", "share"], rows)


def examples_table(chapter: Chapter, signals: SignalSet) -> list[Table]:
    """Signals drawn at random."""
    rows = [[*row] for row in signals.examples]
    return some(f"Examples of {signals.generator} on {chapter.name}.", ["item", "signal"], rows, text_columns=2)


SIGNAL_TABLES: dict[str, Callable[[Chapter, SignalSet], list[Table]]] = {
    "quality": quality_table,
    "ratings": ratings_table,
    "judges": judges_table,
    "similarity": similarity_table,
    "templates": templates_table,
    "examples": examples_table,
}
