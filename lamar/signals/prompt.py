"""The few-shot question that asks an LLM for one item's signal (paper section 3.1, Figure 5)."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from lamar.errors import LamarError

FOLDER = Path(__file__).parent / "prompts"

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


def _input(item: Mapping[str, str]) -> str:
    lines = "\n".join(f"{name.capitalize()}: {text}" for name, text in item.items() if text)
    return f"Input:\n{lines}\nOutput:"


def load_prompt(name: str) -> Prompt:
    """Read `prompts/<name>.toml`, or the file `name` when it ends in .toml (a catalogue of one's own).

    Raises LamarError when there is no such prompt, it is no TOML, or a key is missing or holds something else.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        examples = tuple((example["item"], example["signal"]) for example in data["examples"])
        return Prompt(signal=data["signal"], task=data["task"].strip(), examples=examples)
    except FileNotFoundError:
        known = ", ".join(sorted(file.stem for file in FOLDER.glob("*.toml")))
        raise LamarError(f"prompt {name}: no file {path}; known: {known}, or name a .toml file of your own") from None
    except KeyError as error:
        raise LamarError(f"{path}: missing key {error}") from None
    except (TypeError, AttributeError):
        raise LamarError(f"{path}: signal and task are texts, each of examples has an item and a signal") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LamarError(f"{path}: not valid TOML ({error})") from None
