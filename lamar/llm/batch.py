"""OpenAI's Batch API: half the price, answers within 24 hours.

Questions are uploaded as one file, a batch is created from it, awaited, and its answers go to the journal that live
ones go to. What was sent is written beside the journal before anything else happens, so that a run that ends at any
point is taken up where it was: a batch is never created twice and never forgotten.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from lamar import console
from lamar.errors import LamarError
from lamar.files import read_json, write_json
from lamar.llm import journal
from lamar.llm.journal import LOST, Answer, Journal
from lamar.llm.money import Budget, paid
from lamar.llm.openai import DENIED, TEMPORARY, base_url, request, said, to_reply
from lamar.llm.provider import api_key, without
from lamar.llm.runner import GO_ON, REJECTED, believed
from lamar.params import Generate, OpenaiGenerator

if TYPE_CHECKING:
    from openai import APIError, OpenAI
    from openai.types import Batch

    from lamar.signals.prompt import Messages

T = TypeVar("T")

ENDPOINT = "/v1/chat/completions"
WINDOW = "24h"  # the only one on offer
FILE_BYTES = 190_000_000  # OpenAI takes files of up to 200 MB
ENDED = {"completed", "expired", "cancelled", "failed"}


def ask(
    questions: Mapping[str, Messages],
    generator: OpenaiGenerator,
    settings: Generate,
    budget: Budget,
    book: Journal,
    known: bool,
) -> None:
    """Ask all questions (key -> chat); every answer is in `book` when this returns.

    known: whether earlier runs have got answers of this generator.

    A batch of an earlier run is awaited first. What fails in a batch is asked again in the next one. Raises LamarError,
    with everything answered kept, when a batch fails or brings nothing, and SystemExit after Ctrl-C or SIGTERM.
    """
    from openai import APIError, OpenAI

    key = api_key(generator)
    url = base_url(generator)
    with OpenAI(base_url=url, api_key=key or "none", max_retries=0, timeout=settings.timeout) as client:
        try:
            with _interruptible():
                Batches(client, generator, settings, budget, book, known).run(questions)
        except APIError as error:
            raise LamarError(f"the Batch API at {url}: {without(key, _message(error))}; {GO_ON}") from None
        except LamarError as error:  # the complaints of a batch may repeat the key, too
            raise LamarError(without(key, str(error))) from None


def stop_if_under_way(questions: Iterable[str], journal_path: Path) -> None:
    """Raise LamarError when a batch that is under way asks some of `questions` (keys): live, they would cost again."""
    path = _sent_path(journal_path)
    if not path.exists():
        return
    sent = read_json(path)
    twice = set(questions).intersection(sent.get("reserved_usd", questions))  # older files do not say which
    if twice:
        raise LamarError(
            f"{path}: a batch under way asks {len(twice):,} of these questions; fetch its answers with mode: batch, or "
            "delete this file to give it up"
        )


def _sent_path(journal_path: Path) -> Path:
    """What is known of a batch under way."""
    return Path(f"{journal_path}.batch.json")


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the waiting, not the batch."""

    def end(number: int, _: object) -> None:
        console.say(f"interrupted: what was sent goes on at the provider; {GO_ON} and fetch the answers")
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Batches:
    """One batch after the other until all questions are answered."""

    def __init__(
        self,
        client: OpenAI,
        generator: OpenaiGenerator,
        settings: Generate,
        budget: Budget,
        book: Journal,
        known: bool,
    ) -> None:
        """Nothing is sent yet. What is sent is written to <journal>.batch.json."""
        self._known = known
        self._client = client
        self._generator = generator
        self._settings = settings
        self._budget = budget
        self._book = book
        self._sent = _sent_path(book.path)
        self._complaint = ""

    def run(self, questions: Mapping[str, Messages]) -> None:
        """Ask all questions. Raises what `ask` raises."""
        self._questions = questions.keys()
        left = dict(questions)
        if self._sent.exists():
            console.say(f"{self._sent}: a batch of an earlier run is taken up")
            self._drop(left, self._take_up(self._found))
        while left:
            chosen = self._affordable(left)
            self._upload(chosen)
            came = self._take_up(self._create)
            if not came & left.keys():
                raise LamarError(f"a batch of {len(chosen):,} questions brought no answer: {self._complaint}; {GO_ON}")
            self._drop(left, came)

    @staticmethod
    def _drop(left: dict[str, Messages], came: set[str]) -> None:
        for key in came & left.keys():
            del left[key]

    def _affordable(self, left: Mapping[str, Messages]) -> dict[str, Messages]:
        """As many questions as one batch takes and the budget pays for even if every answer is as long as it may be."""
        chosen: dict[str, Messages] = {}
        price, size = 0.0, 0
        for key, messages in left.items():
            price += self._budget.most(messages)
            size += len(self._line(key, messages))
            full = len(chosen) >= self._settings.batch_requests or size > FILE_BYTES
            if full or not self._budget.affords(price):
                break
            chosen[key] = messages
        if not chosen:
            raise self._budget.exhausted()
        return chosen

    def _line(self, key: str, messages: Messages) -> bytes:
        body = request(self._generator, messages)
        line = {"custom_id": key, "method": "POST", "url": ENDPOINT, "body": body}
        return json.dumps(line, ensure_ascii=False).encode() + b"\n"

    def _upload(self, chosen: Mapping[str, Messages]) -> None:
        """Upload the questions; what happens to the file from here on is known from the file beside the journal."""
        lines = b"".join(self._line(key, messages) for key, messages in chosen.items())
        file = ("questions.jsonl", lines)
        uploaded = self._patiently(partial(self._client.files.create, file=file, purpose="batch"))
        sent = {"base_url": base_url(self._generator), "file": uploaded.id, "questions": len(chosen)}
        reserved = {key: self._budget.most(messages) for key, messages in chosen.items()}
        write_json(self._sent, sent | {"reserved_usd": reserved})

    def _take_up(self, batch_of: Callable[[dict[str, Any]], Batch]) -> set[str]:
        """Bring what was sent to its end; the keys that are done with. The file beside the journal is gone then."""
        sent = read_json(self._sent)
        if sent["base_url"] != base_url(self._generator):
            raise LamarError(
                f"{self._sent}: a batch is under way at {sent['base_url']}; fetch it with the generator that sent it, "
                "or delete this file to give it up"
            )
        batch = self._await(batch_of(sent))
        if batch.status == "failed":
            self._sent.unlink()
            problems = batch.errors.data if batch.errors and batch.errors.data else []
            raise LamarError(f"batch {batch.id} failed: {problems[0].message if problems else 'no reason given'}")
        came = self._merge(batch, sent.get("reserved_usd", {}))
        self._sent.unlink()
        console.say(
            f"batch {batch.id} is {batch.status}: {len(came):,} of {sent['questions']:,} questions are done with"
        )
        if batch.status == "cancelled":
            raise LamarError(f"batch {batch.id} was cancelled; its answers are kept: {GO_ON}")
        return came

    def _found(self, sent: dict[str, Any]) -> Batch:
        """The batch that an earlier run created, or was about to create, of an uploaded file."""
        if "batch" in sent:
            return self._patiently(partial(self._client.batches.retrieve, sent["batch"]))
        known = self._patiently(lambda: [*self._client.batches.list(limit=100)])
        return next((batch for batch in known if batch.input_file_id == sent["file"]), None) or self._create(sent)

    def _create(self, sent: dict[str, Any]) -> Batch:
        """A batch of an uploaded file; asked for once: a second attempt might make, and cost, a second batch."""
        batch = self._client.batches.create(
            input_file_id=sent["file"], endpoint=ENDPOINT, completion_window=WINDOW
        )  # fmt: skip
        write_json(self._sent, sent | {"batch": batch.id})
        return batch

    def _await(self, batch: Batch) -> Batch:
        """Look at a batch now and then until it has ended."""
        with console.progress() as bar:
            task = bar.add_task("batch", total=None, note="")
            while batch.status not in ENDED:
                note = batch.status
                if counts := batch.request_counts:
                    bar.update(task, total=counts.total or None, completed=counts.completed + counts.failed)
                bar.update(task, note=f"{note}; Ctrl-C ends the waiting, not the batch")
                time.sleep(self._settings.poll)
                batch = self._patiently(partial(self._client.batches.retrieve, batch.id))
        return batch

    def _patiently(self, call: Callable[[], T]) -> T:
        """What `call` returns: an outage of the server or the network is waited for, within bounds."""
        from openai import APIError

        begun = time.monotonic()
        while True:
            try:
                return call()
            except APIError as error:
                if not _passing(error) or time.monotonic() - begun > self._settings.longest_wait:
                    raise
            time.sleep(self._settings.poll)

    def _merge(self, batch: Batch, reserved: Mapping[str, float]) -> set[str]:
        """The answers of a batch into the journal; the keys that need not be asked again.

        reserved: the most that a question can have cost, by key.
        """
        answers, rejected, lost = [], [], []
        homes = {REJECTED: rejected, LOST: lost}
        for file in filter(None, (batch.output_file_id, batch.error_file_id)):
            for line in self._lines(file):
                found = self._answer(json.loads(line), reserved)
                if found is not None:
                    homes.get(found.finish_reason, answers).append(found)
        kept = answers + (rejected if believed(rejected, len(answers), self._known, self._settings) else [])
        self._known = self._known or bool(answers)
        new = self._new(kept + lost)
        self._book.append(new)
        self._book.sync()
        self._budget.spent += paid(self._generator, (line for line in new if line.key in self._questions))
        return {answer.key for answer in kept}

    def _lines(self, file: str) -> list[bytes]:
        return self._patiently(lambda: self._client.files.content(file).content).splitlines()

    def _new(self, lines: list[Answer]) -> list[Answer]:
        """Those that the journal does not hold: an earlier run may have ended right after it had written them."""
        answered, lost = journal.read(self._book.path), set(journal.lost(self._book.path))
        return [line for line in lines if line.key not in answered and line not in lost]

    def _answer(self, line: dict[str, Any], reserved: Mapping[str, float]) -> Answer | None:
        """One line of a result, one that is LOST when what was paid for cannot be read; None when nothing was."""
        key = line["custom_id"]
        response = line.get("response") or {}
        status = response.get("status_code", 500)
        if status == 200:
            try:
                reply = to_reply(response.get("body"))
            except ValueError as broken:
                self._complaint = f"broken answer ({broken})"
                return Answer(key, self._generator.model, "", LOST, 0, 0, reserved_usd=reserved.get(key))
            used = reply.input_tokens, reply.output_tokens
            most = None if any(used) else reserved.get(key)
            return Answer(key, reply.model, reply.text, reply.finish_reason, *used, reserved_usd=most)
        self._complaint = said(line.get("error") or response.get("body") or "no reason given")
        if status in DENIED | TEMPORARY or status >= 500:  # who is denied asks again when the account is in order
            return None
        return Answer(key, self._generator.model, "", REJECTED, 0, 0)


def _passing(error: APIError) -> bool:
    """Whether looking again may help."""
    from openai import APIConnectionError, APIStatusError

    if isinstance(error, APIStatusError):
        return error.status_code in TEMPORARY or error.status_code >= 500
    return isinstance(error, APIConnectionError)


def _message(error: APIError) -> str:
    from openai import APIStatusError

    return (
        said(error.body or error.message)
        if isinstance(error, APIStatusError)
        else f"{error} ({error.__cause__ or type(error).__name__})"
    )
