"""What the progress bar tells while a remote LLM is asked, on a terminal of 80 columns."""

from __future__ import annotations

import re
from io import StringIO

import pytest
from llm_generators import ask, openai_generator
from llm_server import FAULTS, Server, failure
from rich.console import Console

from lamar import console
from lamar.errors import LamarError

COLUMNS = 80


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """What rich writes on a terminal that knows neither colours nor the cursor."""
    screen = StringIO()
    plain = Console(file=screen, width=COLUMNS, force_terminal=True, color_system=None, legacy_windows=False)
    monkeypatch.setattr(console, "console", plain)
    return screen


def lines(screen: StringIO) -> list[str]:
    """The lines that were shown, without the codes that move the cursor."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()))


def test_all_that_counts_is_told_in_80_columns(server: Server, terminal: StringIO) -> None:
    server.faults["q1"].append(failure(503, "the model [/b] is being loaded, " * 10))
    ask(openai_generator(server), 1200, backoff=0.2)
    shown = lines(terminal)
    assert max(map(len, shown)) <= COLUMNS
    bars = [line for line in shown if line.startswith("asking")]
    whole = r"^asking \S+ 1200/1200 \d:\d\d:\d\d \d+\.\d/s, 144,000 tokens, \$0\.1680 *$"
    assert re.match(whole, bars[-1]), bars[-1]
    assert any(re.match(r"^asking \S+ +\d+/1200 (\d:\d\d|-:--):(\d\d|--) ", line) for line in bars[:-1])
    troubles = [line for line in shown if "errors" in line]
    assert re.match(r"^1 errors, the last: 503: the model \[/b\] is being loaded, the model .*…$", troubles[-1])


def test_without_errors_there_is_no_line_of_them(server: Server, terminal: StringIO) -> None:
    ask(openai_generator(server), 5)
    assert not any("errors" in line for line in lines(terminal))


def test_the_bar_gives_way_to_large_numbers(terminal: StringIO) -> None:
    with console.progress() as bar:
        note = "100.5/s, 9,600,000 tokens, $12.3456"
        bar.add_task(
            "asking", total=40_000, completed=39_999, note=note, trouble="1,234 errors, the last: 429: slow down"
        )
    (shown,) = {line.rstrip() for line in lines(terminal) if line.startswith("asking")}
    assert re.match(rf"^asking \S+ 39999/40000 \S+ {re.escape(note)}$", shown)


def test_a_run_that_ends_says_its_last_error_once_more(server: Server, terminal: StringIO) -> None:
    server.always = FAULTS["500"]
    with pytest.raises(LamarError):
        ask(openai_generator(server), 50)
    assert re.match(r"^\d+ errors, the last: 500: internal", [line for line in lines(terminal) if line.strip()][-1])
