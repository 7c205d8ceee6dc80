"""The commands that the documentation tells people to run, as a shell would split them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`((?:accelerate|lamar|dvc|make|mlflow|python) [^`]+)`(?!`)")
ENDS = {"&&", "||", ";", "|", "&"}
ASSIGNMENT = re.compile(r"[A-Z_]+=")


@dataclass(frozen=True)
class Command:
    """One command without comment, variables before it and redirections. `page`: the name of the file it stands in."""

    words: tuple[str, ...]
    page: str = ""

    @property
    def text(self) -> str:
        """The command on one line, without quotes."""
        return " ".join(self.words)


def fences(page: Path) -> list[tuple[str, str]]:
    """The fenced blocks of a page: language and content."""
    return FENCE.findall(page.read_text())


def split(text: str, page: str = "") -> Iterator[Command]:
    """The commands of a piece of shell."""
    for line in text.replace("\\\n", "").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words: list[str] = []
        for token in [*lexer, ";"]:
            if token not in ENDS:
                words.append(token)
                continue
            if plain := _plain(words):
                yield Command(tuple(plain), page)
            words = []


def _plain(words: list[str]) -> list[str]:
    """Without variables that are set before the command, and without where its output goes."""
    while words and ASSIGNMENT.match(words[0]):
        words = words[1:]
    redirected = next((place for place, word in enumerate(words) if word in (">", ">>", "<")), len(words))
    return words[:redirected]


def fenced() -> list[Command]:
    """All commands in blocks of shell."""
    return [
        command
        for page in PAGES
        for language, text in fences(page)
        if language == "bash"
        for command in split(text, page.name)
    ]


def inline() -> list[Command]:
    """Commands within sentences, but those with a placeholder: NAME, <stage>, ..."""
    texts = [(page.name, found) for page in PAGES for found in INLINE.findall(FENCE.sub("", page.read_text()))]
    whole = [(page, text) for page, text in texts if not re.search(r"\b[A-Z]{3,}\b|<|\.\.\.", text.split("=")[0])]
    return [command for page, text in whole for command in split(" ".join(text.split()), page)]
