"""Asks a remote LLM many questions at once: within limits and a budget, again where that may help, never twice.

An answer is in the journal before it counts. What ends a run (Ctrl-C, an empty budget, a full disk, failures in a row)
lets the requests in flight finish and keeps their answers; the next run asks only for what is missing.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from lamar import console
from lamar.errors import LamarError
from lamar.llm.journal import LOST, Answer, Journal
from lamar.llm.money import Budget, cost, tokens_about
from lamar.llm.pace import Pace
from lamar.llm.provider import Denied, Provider, Rejected, Reply, Temporary, connect
from lamar.params import Generate, RemoteGenerator

if TYPE_CHECKING:
    from rich.progress import Progress

    from lamar.signals.prompt import Messages

LONGEST_BACKOFF = 60  # seconds: rate limits are per minute
REFRESH = 0.5  # seconds between two looks at the progress, and between two fsyncs: what a loss of power may cost
GO_ON = "run the same command to go on"
REJECTED = "rejected"
"""finish_reason of the empty answer to a question that the provider would not take."""


def ask(
    questions: Mapping[str, Messages],
    generator: RemoteGenerator,
    settings: Generate,
    budget: Budget,
    book: Journal,
    known: bool,
) -> None:
    """Ask all questions (key -> chat); every answer is in `book` when this returns.

    known: whether earlier runs have got answers of this generator.

    Raises LamarError, with everything answered kept, when some have no answer, and SystemExit after Ctrl-C or SIGTERM.
    """
    provider = connect(generator, settings.timeout)
    asyncio.run(Runner(provider, generator, settings, budget, book, known).run(questions))


def believed(rejected: Collection[Answer], answered: int, known: bool, settings: Generate) -> bool:
    """Whether what was rejected is so for good: a wrong setting rejects every question.

    Beside answers it is. Without any, some few are where earlier runs have got answers.
    """
    return answered > 0 or (known and len(rejected) < settings.failures)


class Stopping(Exception):
    """Nothing more is to be asked."""


class Runner:
    """One run over many questions."""

    def __init__(
        self,
        provider: Provider,
        generator: RemoteGenerator,
        settings: Generate,
        budget: Budget,
        book: Journal,
        known: bool,
    ) -> None:
        """Nothing is asked yet."""
        self._known = known
        self._provider = provider
        self._generator = generator
        self._settings = settings
        self._budget = budget
        self._book = book
        self._requests = Pace(generator.requests_per_minute)
        self._tokens = Pace(generator.tokens_per_minute)
        self._resume = 0.0  # no request before this time: the server has asked to wait
        self._answered = self._given_up = self._in_a_row = self._errors = self._tokens_used = 0
        self._last = ""  # the provider's last message
        self._rejected: list[Answer] = []
        self._end: BaseException | None = None

    async def run(self, questions: Mapping[str, Messages]) -> None:
        """Ask all questions, `concurrency` at once. Raises what `ask` raises."""
        self._stopping, self._settled = asyncio.Event(), asyncio.Event()
        self._total = len(questions)
        self._waiting = iter(questions.items())
        workers = [asyncio.create_task(self._work()) for _ in range(min(self._generator.concurrency, self._total))]
        with console.progress() as bar, self._signals(workers):
            watch = asyncio.create_task(self._watch(bar))
            await asyncio.gather(*workers, return_exceptions=True)
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        await self._provider.close()
        self._finish()

    def _finish(self) -> None:
        """Keep what was rejected for good, however the run ends, or the next one would begin with it."""
        keep = believed(self._rejected, self._answered, self._known, self._settings)
        if self._rejected and keep:
            self._book.append(self._rejected)
            console.say(f"{len(self._rejected):,} questions were rejected for good, the last: {self._last}")
        if isinstance(self._end, SystemExit):
            console.say(f"interrupted: {self._answered:,} of {self._total:,} answers came and are kept; {GO_ON}")
        if self._end is not None:
            raise self._end
        if self._rejected and not keep:
            raise LamarError(
                f"{len(self._rejected):,} questions were rejected and none was answered, the last: {self._last}; "
                "correct what it complains of and run the same command"
            )
        if self._given_up:
            raise LamarError(
                f"{self._given_up:,} of {self._total:,} questions have no answer yet (the last: {self._last}); "
                "the others' are kept: run the same command to ask again"
            )

    async def _work(self) -> None:
        """Ask one question after the other, all workers from the same list."""
        try:
            for key, messages in self._waiting:
                if self._stopping.is_set():
                    return
                await self._ask(key, messages)
        except Stopping:
            return
        except Exception as error:  # whatever it is, the other workers' requests in flight are to be kept
            self._stop(error)

    async def _ask(self, key: str, messages: Messages) -> None:
        """One question, asked until it is answered, rejected or given up."""
        for attempt in range(1, self._settings.attempts + 1):
            most = await self._reserve(messages)
            spent = 0.0
            try:
                await self._turn(messages)
                started = time.perf_counter()
                reply = await self._reply(messages)
                counted = cost(self._generator, reply.input_tokens, reply.output_tokens)
                spent = counted or most  # some count no tokens
                return self._keep(key, reply, time.perf_counter() - started, attempt, 0.0 if counted else most)
            except Temporary as trouble:
                spent = most if trouble.paid else 0.0
                self._note(trouble)
                if spent:
                    self._book.append([Answer(key, self._generator.model, "", LOST, 0, 0, reserved_usd=spent)])
                delay = self._delay(trouble, attempt)
            except Rejected as trouble:
                self._note(trouble)
                self._rejected.append(Answer(key, self._generator.model, "", REJECTED, 0, 0, attempts=attempt))
                return self._failed()
            except Denied as trouble:
                return self._stop(LamarError(f"{self._generator.model} refuses to answer: {trouble}"))
            finally:
                self._budget.settle(most, spent)
                self._settled.set()
            if attempt < self._settings.attempts:
                await self._sleep(delay)
        self._given_up += 1
        return self._failed()

    async def _reply(self, messages: Messages) -> Reply:
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._provider.ask(messages)
        except TimeoutError:
            raise Temporary(f"no answer within {self._settings.timeout:g} seconds", paid=True) from None

    def _keep(self, key: str, reply: Reply, seconds: float, attempts: int, reserved: float) -> None:
        """Into the journal first, then it counts."""
        used = reply.input_tokens, reply.output_tokens
        measured = {"seconds": round(seconds, 3), "attempts": attempts, "reserved_usd": reserved or None}
        self._book.append([Answer(key, reply.model, reply.text, reply.finish_reason, *used, **measured)])
        self._answered += 1
        self._tokens_used += sum(used)
        self._in_a_row = 0

    async def _reserve(self, messages: Messages) -> float:
        """Set aside the most that a question can cost, when need be after others have turned out cheaper."""
        most = self._budget.most(messages)
        while not self._budget.affords(most):
            if not self._budget.in_flight:
                self._stop(self._budget.exhausted())
            if self._stopping.is_set():
                raise Stopping
            self._settled.clear()
            await self._settled.wait()
        self._budget.reserve(most)
        return most

    async def _turn(self, messages: Messages) -> None:
        """Wait until the limits per minute, and a server that asked to wait, allow a request."""
        wait = self._requests.take()
        if self._generator.tokens_per_minute:
            wait = max(wait, self._tokens.take(tokens_about(messages) + self._generator.max_tokens))
        if wait > 0:
            await self._sleep(wait)
        while (wait := self._resume - time.monotonic()) > 0:
            await self._sleep(wait + random.random() * self._settings.backoff)  # not all at the same moment

    def _delay(self, trouble: Temporary, attempt: int) -> float:
        """Seconds before the next attempt: what the server asks for, else twice as long every time, with jitter."""
        if trouble.wait is None:
            longest = min(self._settings.backoff * 2 ** (attempt - 1), LONGEST_BACKOFF)
            return longest * random.uniform(0.5, 1)
        if trouble.wait > self._settings.longest_wait:
            self._stop(
                LamarError(f"{self._generator.model} asks to wait {trouble.wait:,.0f} seconds ({trouble}); {GO_ON}")
            )
        self._resume = max(self._resume, time.monotonic() + trouble.wait)
        return trouble.wait + random.random() * self._settings.backoff

    def _note(self, trouble: Exception) -> None:
        self._errors += 1
        self._last = str(trouble)

    def _failed(self) -> None:
        self._in_a_row += 1
        if self._in_a_row >= self._settings.failures:
            self._stop(
                LamarError(f"{self._in_a_row} questions in a row got no answer, the last: {self._last}; {GO_ON}")
            )

    async def _watch(self, bar: Progress) -> None:
        """Show how it goes and hand what was written to the disk, until cancelled."""
        task = bar.add_task("asking", total=self._total, note="")
        started = time.monotonic()
        try:
            while True:
                await asyncio.sleep(REFRESH)
                bar.update(task, completed=self._answered, **self._summary(time.monotonic() - started))
                await asyncio.to_thread(self._book.sync)
        except LamarError as error:
            self._stop(error)
        finally:
            bar.update(task, completed=self._answered, **self._summary(time.monotonic() - started))

    def _summary(self, seconds: float) -> dict[str, str]:
        """What stands beside the bar and, of errors, below it."""
        rate = f"{self._answered / seconds:.1f}/s, " if seconds else ""
        note = f"{rate}{self._tokens_used:,} tokens, ${self._budget.spent:.4f}"
        return {"note": note, "trouble": f"{self._errors:,} errors, the last: {self._last}" if self._errors else ""}

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not when nothing more is to be asked."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        if self._stopping.is_set():
            raise Stopping

    def _stop(self, end: BaseException) -> None:
        """Ask nothing more; the first reason counts."""
        self._end = self._end or end
        self._stopping.set()
        self._settled.set()

    @contextmanager
    def _signals(self, workers: list[asyncio.Task[None]]) -> Iterator[None]:
        """Ctrl-C and SIGTERM end the run after what is in flight, the second time at once."""

        def end(number: int) -> None:
            if self._stopping.is_set():
                for worker in workers:
                    worker.cancel()
            else:
                console.say(f"finishing {self._budget.in_flight} requests in flight; once more abandons them")
                self._stop(SystemExit(128 + number))

        loop = asyncio.get_running_loop()
        caught = (signal.SIGINT, signal.SIGTERM)
        for number in caught:
            loop.add_signal_handler(number, end, number)
        try:
            yield
        finally:
            for number in caught:
                loop.remove_signal_handler(number)
