"""TAXREC's questions are asked like those for signals: once, of the same journal and on the same budget.

Its answers travel as files of their own, journals too: by a DVC remote as outs of its stages, or in data/journals/.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lamar import console, params
from lamar.files import written_whole
from lamar.llm import asking, journal, provider
from lamar.llm.journal import Answer
from lamar.llm.recorded import stop_before_paying_again
from lamar.llm.usage import usage
from lamar.params import AnyGenerator, Params
from lamar.signals.generate import SHIPPED, journal_path, remote_answers
from lamar.signals.prompt import Messages

FOLDER = Path("data/taxonomies")


class Asker:
    """Asks the LLM of a run about a dataset, and keeps what it answered in `kept`, an out of a stage."""

    def __init__(self, chosen: Params, dataset: str, llm: str, kept: Path) -> None:
        """Nothing is asked yet. Raises LamarError when no generator is called `llm`."""
        self._generator: AnyGenerator = params.entry(chosen.generators, "generator", llm)
        self._llm = llm
        self._dataset = dataset
        self._settings = chosen.generate
        self._kept = kept
        self._answers: dict[str, Answer] = {}

    def ask(self, chats: Sequence[Messages], max_tokens: int | None = None) -> list[Answer]:
        """The answers to chats, in their order; only what no journal holds is asked. Each is kept as it arrives.

        max_tokens: of an answer, where it is not the generator's. Raises LamarError as `lamar.llm.asking.ask`, and when
        somebody has paid for answers that are not here.
        """
        writer = self._generator.model_copy(update={"max_tokens": max_tokens or self._generator.max_tokens})
        who = provider.identity(writer)
        keys = [journal.key_of(who, chat) for chat in chats]
        questions = dict(zip(keys, chats, strict=True))
        known = self._known()
        missing = {key: chat for key, chat in questions.items() if key not in known}
        console.say(f"{len(questions):,} questions, {len(missing):,} to ask {writer.model}")
        if missing:
            self._ask(missing, questions.keys() | self._answers.keys(), writer)
            known = self._known()
        self._answers |= {key: known[key] for key in questions}
        return [known[key] for key in keys]

    def keep(self) -> dict[str, Any]:
        """Write everything that was answered to `kept`, sorted; what it took, as `lamar.llm.usage.usage` counts it."""
        lines = [journal.to_line(self._answers[key]) for key in sorted(self._answers)]
        with written_whole(self._kept) as unfinished:
            unfinished.write_text("".join(lines), encoding="utf-8")
        return usage(self._answers.values(), self._generator)

    def _ask(self, missing: dict[str, Messages], own: set[str], writer: AnyGenerator) -> None:
        """Ask. What this machine has paid for about the dataset before counts on the budget, signals too."""
        stop_before_paying_again(self._kept, self._generator)
        about = own | _read(self._travelled()).keys() | remote_answers(self._dataset, self._llm).keys()
        spent = about & journal.read(journal_path(writer)).keys()
        asking.ask(dict.fromkeys(spent, ()) | missing, journal_path(writer), self._llm, writer, self._settings)

    def _known(self) -> dict[str, Answer]:
        shipped = sorted((SHIPPED / self._dataset).glob("*.jsonl"))
        return _read([*self._travelled(), journal_path(self._generator), *shipped])

    def _travelled(self) -> list[Path]:
        return sorted((FOLDER / self._dataset).glob("*/*.jsonl"))


def _read(files: Sequence[Path]) -> dict[str, Answer]:
    return {key: answer for file in files for key, answer in journal.read(file).items()}
