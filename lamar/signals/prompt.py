"""The few-shot question that asks an LLM for one item's signal (paper section 3.1, Figure 5).

Item texts are data that anyone may have written: in a question each is one line under its attribute's name, and cannot
begin a line of its own (an "Output:", another "Input:"), end the message, or push the instruction out of sight.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lamar.errors import LamarError
from lamar.files import read_json

FOLDER = Path(__file__).parent / "prompts"

LONGEST = 1000  # characters of an attribute that are shown; the longest of ml-100k and scientific has 764
BREAKS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]+")  # lines, controls, direction
TURNS = re.compile(  # what chat templates end a message or begin another with
    r"<\|[^|>]{0,40}\|>|</?s>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>", re.IGNORECASE
)

Messages = tuple[dict[str, str], ...]
"""A chat: `role` and `content` of each message."""


@dataclass(frozen=True)
class Prompt:
    """What is given, what to write, and examples; the item comes last, so that all questions share a prefix."""

    signal: str
    task: str
    examples: tuple[tuple[Mapping[str, str], str], ...]

    @cached_property
    def shared(self) -> str:
        """The text that is the same for every item."""
        shown = [f"{_input(item)} {text}\n\n" for item, text in self.examples]
        return f"{self.task}\n\n{''.join(shown)}"

    def messages(self, item: Mapping[str, str]) -> Messages:
        """The chat that asks for the signal of `item` (attribute -> text; empty attributes are left out)."""
        return ({"role": "user", "content": f"{self.shared}{_input(item)}"},)


def as_data(text: str) -> str:
    """Item text as it enters a prompt: one line without control characters and chat markers, of LONGEST characters.

    A text that has nothing of the kind is returned as it is: the keys of paid answers hang on it.
    """
    return TURNS.sub(" ", BREAKS.sub(" ", text))[:LONGEST].strip()


def _input(item: Mapping[str, str]) -> str:
    shown = {name.capitalize(): as_data(text) for name, text in item.items() if text}
    lines = "\n".join(f"{name}: {text}" for name, text in shown.items() if text)
    return f"Input:\n{lines}\nOutput:"


def load_prompt(name: str) -> Prompt:
    """Read `prompts/<name>.toml`, or the file `name` when it ends in .toml (a catalogue of one's own).

    Raises LamarError when there is no such prompt, it is no TOML, or a key is missing or holds something else.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        return prompt_from(tomllib.loads(path.read_text(encoding="utf-8")), path)
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise LamarError(f"prompt {name}: no file {path}; known: {known}, or name a .toml file of your own") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LamarError(f"{path}: not valid TOML ({error})") from None


def proposal_path(dataset: str, generator: str) -> Path:
    """The proposal of a generator for a dataset."""
    return Path("data/proposals", dataset, f"{generator}.json")


def read_prompt(path: Path) -> Prompt:
    """The prompt of a proposal that the stage `propose` wrote. Raises LamarError when it is missing or broken."""
    return prompt_from(read_json(path), path)


def answers_of(path: Path) -> set[str]:
    """The keys of the answers that a written proposal was made from; none when there is no proposal, or a pinned one.

    Raises LamarError when the file is broken.
    """
    return set(read_json(path).get("answers", ())) if path.exists() else set()


def prompt_from(data: Mapping[str, Any], path: Path) -> Prompt:
    """The prompt that a file holds. Raises LamarError naming `path` when a key is missing or holds something else."""
    try:
        examples = tuple((example["item"], example["signal"]) for example in data["examples"])
        return Prompt(signal=data["signal"], task=data["task"].strip(), examples=examples)
    except KeyError as error:
        raise LamarError(f"{path}: missing key {error}") from None
    except (TypeError, AttributeError):
        raise LamarError(f"{path}: signal and task are texts, each of examples has an item and a signal") from None
