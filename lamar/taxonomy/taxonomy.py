"""A taxonomy: features that tell the items of a domain apart, each with a closed list of values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lamar.errors import LamarError
from lamar.files import read_json

FEATURES = 5  # the paper's (appendix A.7)
NOTHING = re.compile(
    r"(?:unknown|unclear|unspecified|others?|n a|not (?:applicable|available|known|specified|sure))\b|$"
)
"""How a plain text begins that names no value; also the empty one."""


@dataclass(frozen=True)
class Taxonomy:
    """Feature -> its values, in the order in which they were proposed."""

    features: Mapping[str, tuple[str, ...]]

    @property
    def text(self) -> str:
        """As it stands in a question: one line a feature, "Genre: Drama | Comedy"."""
        return "\n".join(f"{name}: {' | '.join(values)}" for name, values in self.features.items())

    @property
    def form(self) -> str:
        """What an answer looks like: one line a feature."""
        return "\n".join(f"{name}: <one of its values>" for name in self.features)


def plain(text: str) -> str:
    """Text as it is compared: lower case, words and numbers alone ("Sci-Fi", "sci_fi": one value; "7+": its own)."""
    return re.sub(r"[^\w+<>%$]+|_+", " ", text.casefold()).strip()


def says_nothing(text: str) -> bool:
    """Whether a text names no value: it is empty, or begins with "unknown", "other", "n/a"."""
    return NOTHING.match(plain(text)) is not None


def read_taxonomy(path: Path) -> Taxonomy:
    """The taxonomy that the stage `taxonomy` wrote. Raises LamarError when it is missing or broken."""
    written = read_json(path)
    try:
        return Taxonomy({name: tuple(values) for name, values in written["features"].items()})
    except (TypeError, KeyError, AttributeError):
        raise LamarError(f"{path}: `features` is no mapping of names to lists; run dvc repro taxonomy") from None
