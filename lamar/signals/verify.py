"""Are the answers in a journal what they say they are? Ask some again and compare."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lamar import console
from lamar.errors import LamarError
from lamar.llm import journal, local
from lamar.params import AnyGenerator, LocalGenerator
from lamar.signals.generate import Question, known_answers


@dataclass(frozen=True)
class Agreement:
    """How many of `asked` answers came out the same; for the others the question, the old text and the new.

    `best_tokens` of the `tokens` in the journal's answers are the model's own choice at their place but for rounding.
    """

    asked: int
    different: list[tuple[Question, str, str]]
    best_tokens: int
    tokens: int

    @property
    def same(self) -> int:
        """Answers repeated word for word."""
        return self.asked - len(self.different)


def verify(
    asked: list[Question],
    dataset: str,
    name: str,
    generator: AnyGenerator,
    batch: int | Literal["auto"],
    questions: int,
    seed: int,
) -> Agreement:
    """Ask `questions` random ones of the answered questions again; nothing is written to a journal.

    Decoding is greedy, but in bfloat16 the rounding depends on the batch and exact ties are frequent, so that wordings
    may differ; hence each token of the journal's answers is also compared with the model's own choice at its place.
    Raises LamarError when no question is answered yet, or when asking again would cost money and prove little: the
    model behind an API changes and samples.
    """
    if not isinstance(generator, LocalGenerator):
        raise LamarError(
            f"{name}: only answers of local models can be verified, since only their weights stay the same"
        )
    known = known_answers(dataset, name, generator)
    answered = sorted((question for question in asked if question.key in known), key=lambda question: question.key)
    if not answered:
        raise LamarError(f"no answers of {name} for {dataset} to verify; run dvc repro generate first")
    chosen = np.random.default_rng(seed).permutation(len(answered))[:questions]
    by_key = {answered[index].key: answered[index] for index in chosen}
    with console.progress() as bar:
        task = bar.add_task("asking again", total=len(by_key), note="loading the model")
        model = local.LocalModel(generator, batch)
        again: dict[str, journal.Answer] = {}
        for answers in model.ask([question.messages for question in by_key.values()]):
            again |= {answer.key: answer for answer in answers}
            bar.update(task, advance=len(answers), note="")
        counts = [model.best_tokens(question.messages, known[key]) for key, question in by_key.items()]
    texts = [(question, known[key].text, again[key].text) for key, question in by_key.items()]
    different = [text for text in texts if text[1] != text[2]]
    return Agreement(len(texts), different, *(sum(column) for column in zip(*counts, strict=True)))
