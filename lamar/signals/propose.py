"""Find out which signal to ask an LLM for: it proposes one, given the task, the dataset and its attributes.

Auto-CoT (paper section 3.1, Figure 4): the model reasons step by step about other tasks, and its answers are the worked
examples of the question about this dataset. The variants are those of section 5.1 (Figures 6 to 8).
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lamar.errors import LamarError
from lamar.llm.journal import Answer
from lamar.signals.parse import MARKDOWN
from lamar.signals.prompt import FOLDER, Messages, as_data

WORKED = 4  # worked examples before the question (paper section 3.1)
OPENING = re.compile(r"^\W*let['’]s think step by step\W*", re.IGNORECASE)  # the question ends with it already
LABEL = re.compile(r"(?:recommended|new) feature(?: is| would be| could be)?\s*[:\-–—\"“]+\s*", re.IGNORECASE)
NAME = re.compile(  # up to five words that begin no sentence and no refusal
    r"(?!(?:i|it|we|you|there|this|none|no|sorry|unknown)\b|(?:recommended|new) feature)"
    r"[^\W\d_][\w'’&/+-]*(?:,? [\w'’&/+-]+){0,4}",
    re.IGNORECASE,
)
LONGEST_NAME = 50  # characters

Ask = Callable[[Sequence[Messages]], list[Answer]]
"""Asks all these chats and returns their answers in the same order."""


@dataclass(frozen=True)
class Brief:
    """What a signal is proposed for.

    about: what the items are ("musical instruments"). items: some of them, attribute -> text. pinned: the name of the
    signal that the dataset has already, '' when it has none.
    """

    dataset: str
    about: str
    attributes: Sequence[str]
    items: Sequence[Mapping[str, str]]
    pinned: str = ""


@dataclass(frozen=True)
class Idea:
    """The name of a signal, why it was proposed, and all that was said to get it."""

    signal: str
    reasoning: str
    conversation: Messages


def auto_cot(ask: Ask, brief: Brief) -> Idea:
    """Four tasks answered by zero-shot chain of thought, then the dataset's own with these as examples.

    Raises LamarError when no task, or not the dataset's own, got an answer that names a feature.
    """
    texts = texts_of("auto-cot")
    tasks = [task for task in texts["tasks"] if task["about"] != brief.about]
    asked = [_filled(texts["question"], **task) for task in tasks]
    chats = [_user(f"{texts['instruction']}\n\n{question}") for question in asked]
    ideas = _ideas(ask, chats, [task["attributes"] for task in tasks])
    worked = [(question, idea) for question, idea in zip(asked, ideas, strict=True) if idea.signal][:WORKED]
    if not worked:
        raise _unreadable(brief, ideas[0])
    shown = [f"{question} {idea.reasoning}\nRecommended feature: {idea.signal}" for question, idea in worked]
    own = _filled(texts["question"], about=brief.about, dataset=brief.dataset, attributes=brief.attributes)
    return _idea(ask, brief, _user("\n\n".join([texts["instruction"], *shown, own])), [])


def prompt_variant(ask: Ask, brief: Brief) -> Idea:
    """One question with some items and no worked examples (Figure 6). Raises LamarError as `auto_cot`."""
    return _idea(ask, brief, _user(_about_items(texts_of("prompt-variant")["question"], brief)), [])


def signal_variant(ask: Ask, brief: Brief) -> Idea:
    """A second signal, asked for after the first (Figures 7 and 8): the pinned one, else the one that Auto-CoT finds.

    Raises LamarError as `auto_cot`.
    """
    first = Idea(brief.pinned, "", ()) if brief.pinned else auto_cot(ask, brief)
    question = _about_items(texts_of("signal-variant")["question"], brief, first=first.signal)
    return _idea(ask, brief, (*first.conversation, *_user(question)), [first.signal])


STRATEGIES: dict[str, Callable[[Ask, Brief], Idea]] = {
    "auto-cot": auto_cot,
    "prompt-variant": prompt_variant,
    "signal-variant": signal_variant,
}


def read_idea(text: str) -> tuple[str, str]:
    """The reasoning in an answer and the name of the feature it recommends ('' when there is none to be read)."""
    *reasons, named = LABEL.split(OPENING.sub("", MARKDOWN.sub("", text)))
    if not reasons:
        return " ".join(named.split()), ""
    return " ".join(" ".join(reasons).split()), _name(named)


def listed(names: Iterable[str]) -> str:
    """Names as a phrase: "title, brand and category"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def texts_of(name: str) -> dict[str, Any]:
    """The texts in `prompts/propose/<name>.toml`; line breaks at their start and end are the file's, not theirs."""
    texts = tomllib.loads((FOLDER / "propose" / f"{name}.toml").read_text(encoding="utf-8"))
    return {key: text.strip() if isinstance(text, str) else text for key, text in texts.items()}


def _name(text: str) -> str:
    """The name that a text begins with, in at most five words: no sentence, no list, no explanation."""
    line = text.strip().split("\n")[0]
    name = re.split(r"\s[-–—]\s|[:;.(]", line)[0].strip(" \"'“”‘’,")
    return name[:1].upper() + name[1:] if NAME.fullmatch(name) and len(name) <= LONGEST_NAME else ""


def _idea(ask: Ask, brief: Brief, chat: Messages, taken: list[str]) -> Idea:
    (idea,) = _ideas(ask, [chat], [[*brief.attributes, *taken]])
    if not idea.signal:
        raise _unreadable(brief, idea)
    return idea


def _ideas(ask: Ask, chats: Sequence[Messages], taken: Sequence[Sequence[str]]) -> list[Idea]:
    """One idea a chat. Where the answer names no feature, or one of those `taken`, it is asked for once more."""
    answers = ask(chats)
    ideas = [_read(chat, answer.text, names) for chat, answer, names in zip(chats, answers, taken, strict=True)]
    failed = [place for place, idea in enumerate(ideas) if not idea.signal]
    retry = texts_of("answers")["retry"]
    again = [(*ideas[place].conversation, *_user(_filled(retry, taken=taken[place]))) for place in failed]
    for place, chat, answer in zip(failed, again, ask(again) if again else [], strict=True):
        second = _read(chat, answer.text, taken[place], bare=True)
        ideas[place] = Idea(second.signal, ideas[place].reasoning, second.conversation)
    return ideas


def _read(chat: Messages, text: str, taken: Sequence[str], bare: bool = False) -> Idea:
    """What an answer says; `bare`: a name alone will do."""
    reasoning, name = read_idea(text)
    name = name or (_name(text) if bare else "")
    known = {feature.casefold() for feature in taken}
    signal = "" if name.casefold() in known else name
    return Idea(signal, reasoning, (*chat, {"role": "assistant", "content": text}))


def _unreadable(brief: Brief, idea: Idea) -> LamarError:
    said = " ".join(idea.conversation[-1]["content"].split())[:80]
    return LamarError(f"{brief.dataset}: {said!r} names no new feature; pin a prompt: datasets.{brief.dataset}.prompt")


def _about_items(question: str, brief: Brief, **more: str) -> str:
    items = "\n".join(f"- {as_data(next(iter(item.values())))}" for item in brief.items)  # the first is the title
    return _filled(question, about=brief.about, dataset=brief.dataset, attributes=brief.attributes, items=items, **more)


def _filled(template: str, **values: str | Sequence[str]) -> str:
    return template.format(**{key: text if isinstance(text, str) else listed(text) for key, text in values.items()})


def _user(content: str) -> Messages:
    return ({"role": "user", "content": content},)
