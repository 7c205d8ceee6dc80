from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from llm_generators import JOURNAL, SECRET, SETTINGS, ask, chats, kept, openai_generator
from llm_server import FAULTS, READ, SLOW, WRITTEN, Server, answer_to, completion, failure, says, slow

from lamar.errors import LamarError
from lamar.llm import asking, journal
from lamar.llm.provider import BLOCKED
from lamar.llm.runner import REJECTED

FILTERED = {"index": 0, "message": {"role": "assistant", "content": None}, "finish_reason": BLOCKED}


def retry_after(value: str):
    return failure(429, "slow down", headers={"Retry-After": value})


def test_every_question_is_asked_once_and_answered(server: Server) -> None:
    answers = ask(openai_generator(server), 50)
    assert {question: answer.text for question, answer in answers.items()} == {
        f"q{number}": answer_to(f"q{number}") for number in range(50)
    }
    assert set(server.asked.values()) == {1}
    one = answers["q0"]
    assert (one.model, one.finish_reason, one.input_tokens, one.output_tokens, one.attempts) == (
        "served", "stop", READ, WRITTEN, 1
    )  # fmt: skip
    assert 0 < one.seconds < 60


def test_a_second_run_asks_nothing_and_needs_neither_server_nor_key(server: Server, monkeypatch) -> None:
    generator = openai_generator(server)
    ask(generator, 5)
    before = JOURNAL.read_bytes()
    server.always = failure(500, "gone")
    monkeypatch.delenv("TEST_API_KEY")
    ask(generator, 5)
    assert JOURNAL.read_bytes() == before
    assert server.requests == 5


def test_the_request_is_what_params_say(server: Server) -> None:
    ask(openai_generator(server, options={"temperature": 0.5, "seed": 7}), 1)
    expected = {"model": "small", "messages": [{"role": "user", "content": "q0"}], "max_completion_tokens": 64}
    assert server.bodies == [expected | {"temperature": 0.5, "seed": 7}]
    ask(openai_generator(server, limit_name="max_tokens", options={}), 1)
    assert server.bodies[1] == {"model": "small", "messages": expected["messages"], "max_tokens": 64}


@pytest.mark.parametrize(
    "changes", [{"model": "large"}, {"max_tokens": 65}, {"options": {"temperature": 1}}, {"base_url": "/v1/"}]
)
def test_what_changes_the_answer_asks_anew_and_keeps_the_old(server: Server, changes) -> None:
    generator = openai_generator(server)
    ask(generator, 3)
    if "base_url" in changes:
        changes = {"base_url": server.url.replace("127.0.0.1", "localhost")}
    ask(openai_generator(server, **changes), 3)
    assert server.requests == 6
    assert len(kept(generator, 3)) == 3


@pytest.mark.parametrize(
    "changes", [{"concurrency": 1}, {"budget_usd": 3}, {"limit_name": "max_tokens"}, {"mode": "batch"}]
)
def test_what_does_not_change_the_answer_asks_nothing(server: Server, changes) -> None:
    ask(openai_generator(server), 3)
    ask(openai_generator(server, **changes), 3)
    assert server.requests == 3


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_asked_again(server: Server, fault: str) -> None:
    server.faults["q1"].append(FAULTS[fault])
    answers = ask(openai_generator(server), 3)
    assert answers["q1"].text == answer_to("q1")
    assert answers["q1"].attempts == 2
    assert server.asked == {"q0": 1, "q1": 2, "q2": 1}


BROKEN = {
    "content in parts": completion("?", choices=[{"message": {"content": [{"type": "text", "text": "hi"}]}}]),
    "choices of text": completion("?", choices=["hi"]),
    "a choice without a message": completion("?", choices=[{}]),
    "counts in a list": completion("?", usage=[]),
    "a list": [1],
    "a list of errors": [{"error": {"message": "upstream failed"}}],
    "a text": "hi",
    "null": None,
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_what_is_no_completion_is_asked_again(server: Server, body: object) -> None:
    server.faults["q1"].append(says(json.dumps(body)))
    answers = ask(openai_generator(server), 3)
    assert answers["q1"].text == answer_to("q1")
    assert server.asked == {"q0": 1, "q1": 2, "q2": 1}


def test_an_answer_whose_tokens_are_null_is_an_answer(server: Server) -> None:
    counts = {"prompt_tokens": None, "completion_tokens": None}
    server.faults["q1"].append(says(completion("q1", usage=counts, model=None)))
    assert ask(openai_generator(server), 3)["q1"].text == answer_to("q1")
    assert server.requests == 3


def test_half_a_surrogate_pair_in_an_answer_is_no_error(server: Server) -> None:
    server.faults["q1"].append(says(json.dumps(completion("q1")).replace("answer to", r"answer \ud83d to")))
    assert ask(openai_generator(server), 3)["q1"].text == "answer ? to q1"
    assert server.requests == 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": {"message": "Your credit is used up: <key>", "code": 402}}, r"Your credit is used up: \*\*\*"),
        ([{"error": {"message": "Your credit is used up: <key>"}}], r"Your credit is used up: \*\*\*"),
        (completion("?", choices=[]), "choices: List should have at least 1 item"),
        (completion("?", choices=[{"message": {"content": 7}}]), "choices.0.message.content: Input should be"),
    ],
)
def test_the_providers_own_message_in_a_200_ends_the_run(server: Server, body: object, message: str) -> None:
    server.always = says(json.dumps(body).replace("<key>", SECRET))
    with pytest.raises(LamarError, match=rf"got no answer, the last: broken answer \({message}"):
        ask(openai_generator(server), 10)


def test_a_slow_answer_is_not_waited_for(server: Server) -> None:
    server.faults["q1"].append(slow)
    started = time.perf_counter()
    answers = ask(openai_generator(server), 3, timeout=3)
    assert time.perf_counter() - started < SLOW
    assert answers["q1"].text == answer_to("q1")
    assert answers["q1"].attempts >= 2


def test_a_mixed_bag_of_faults(server: Server) -> None:
    """A third of the first 200 requests fail in one way or another; all questions are answered, each once."""
    ways = list(FAULTS.values())
    for number in range(200):
        if number % 3 == 0:
            server.faults[f"q{number}"].append(ways[number // 3 % len(ways)])
    answers = ask(openai_generator(server, concurrency=16), 200, attempts=6)
    assert len(answers) == 200
    assert server.requests == 200 + 67
    assert sum(answer.attempts - 1 for answer in answers.values()) == 67
    assert len(JOURNAL.read_text().splitlines()) == 200 + len(journal.lost(JOURNAL))


def test_a_server_that_is_not_there(server: Server) -> None:
    generator = openai_generator(server, base_url="http://127.0.0.1:9/v1")
    with pytest.raises(LamarError, match=r"3 questions in a row got no answer, the last: .*[Cc]onnect.*to go on"):
        ask(generator, 50, attempts=2)


@pytest.mark.parametrize("as_date", [False, True], ids=["seconds", "a date"])
def test_retry_after_is_honoured_by_all_requests(server: Server, as_date: bool) -> None:
    until = datetime.now(UTC) + timedelta(seconds=3)
    server.script.append(retry_after(format_datetime(until, usegmt=True) if as_date else "2"))
    ask(openai_generator(server, concurrency=1), 4)
    assert server.begun[1] - server.begun[0] > (0.9 if as_date else 2)
    assert server.requests == 5


def test_a_wait_that_is_too_long_ends_the_run(server: Server) -> None:
    server.faults["q3"].append(retry_after("86400"))
    with pytest.raises(LamarError, match=r"small asks to wait 86,400 seconds \(429: slow down\); run the same command"):
        ask(openai_generator(server, concurrency=1), 10)
    assert server.requests == 4
    assert len(kept(openai_generator(server), 10)) == 3
    assert len(ask(openai_generator(server), 10)) == 10
    assert server.requests == 11


def test_backoff_doubles_with_jitter(server: Server) -> None:
    server.faults["q0"].extend([FAULTS["500"]] * 3)
    ask(openai_generator(server), 1, backoff=0.2)
    pauses = [after - before for before, after in zip(server.begun, server.begun[1:], strict=False)]
    assert all(pause >= least for pause, least in zip(pauses, (0.1, 0.2, 0.4), strict=True))


def test_failures_in_a_row_stop_the_run_with_the_servers_message(server: Server) -> None:
    server.always = failure(503, "model is\nbeing loaded [/b]")
    with pytest.raises(LamarError) as raised:
        ask(openai_generator(server, concurrency=4), 1000)
    assert str(raised.value).startswith(
        "3 questions in a row got no answer, the last: 503: model is being loaded [/b]; "
    )
    assert server.requests <= 2 * 4 * SETTINGS.attempts


def test_a_question_that_fails_stops_nothing_and_is_asked_again_by_the_next_run(server: Server) -> None:
    server.faults["q4"].extend([FAULTS["500"]] * SETTINGS.attempts)
    generator = openai_generator(server)
    with pytest.raises(
        LamarError, match=r"1 of 20 questions have no answer yet \(the last: 500: internal\); the others'"
    ):
        ask(generator, 20)
    assert kept(generator, 20).keys() == {f"q{n}" for n in range(20)} - {"q4"}
    assert len(ask(generator, 20)) == 20
    assert server.requests == 20 + SETTINGS.attempts


@pytest.mark.parametrize(
    ("status", "code"), [(401, None), (403, None), (404, "model_not_found"), (429, "insufficient_quota")]
)
def test_a_wrong_key_model_or_account_ends_the_run_at_once(server: Server, status: int, code: str | None) -> None:
    server.always = failure(status, "no: <key>", code)
    with pytest.raises(LamarError, match=rf"^small refuses to answer: {status}: no: \*\*\*$"):
        ask(openai_generator(server, concurrency=4), 100)
    assert server.requests <= 4


def test_a_server_that_is_not_there_is_named(server: Server) -> None:
    generator = openai_generator(server, base_url="http://127.0.0.1:9/v1", concurrency=2)  # port 9: discard
    told = r"the last: http://127\.0\.0\.1:9/v1: connection error \(.*failed\); run the same command to go on$"
    with pytest.raises(LamarError, match=told):
        ask(generator, 20, attempts=1)
    assert server.requests == 0


def test_a_withheld_answer_is_an_answer(server: Server) -> None:
    server.faults["q0"].append(says(completion("?", choices=[FILTERED])))
    server.faults["q1"].append(failure(400, "filtered", code=BLOCKED))
    generator = openai_generator(server)
    answers = ask(generator, 3)
    assert [(answers[q].text, answers[q].finish_reason) for q in ("q0", "q1")] == [("", BLOCKED)] * 2
    ask(generator, 3)
    assert server.requests == 3


def test_a_rejected_question_is_rejected_for_good(server: Server, capsys) -> None:
    server.faults["q1"].append(failure(400, "context length exceeded"))
    generator = openai_generator(server)
    answers = ask(generator, 4)
    assert (answers["q1"].text, answers["q1"].finish_reason) == ("", REJECTED)
    assert "1 questions were rejected for good, the last: 400: context length exceeded" in capsys.readouterr().err
    ask(generator, 4)
    assert server.requests == 4


def test_a_single_question_that_is_rejected_may_be_so_by_a_wrong_setting(server: Server) -> None:
    server.always = failure(400, "Unsupported parameter: max_completion_tokens")
    told = (
        "1 questions were rejected and none was answered, the last: 400: Unsupported parameter: max_completion_tokens;"
    )
    with pytest.raises(LamarError, match=told):
        ask(openai_generator(server), 1)
    server.always = None
    assert ask(openai_generator(server, limit_name="max_tokens"), 1)["q0"].text == answer_to("q0")


def test_a_single_question_more_that_is_rejected_is_rejected_for_good(server: Server) -> None:
    generator = openai_generator(server)
    ask(generator, 5)
    server.faults["q5"].append(failure(400, "against our policy"))
    assert ask(generator, 6)["q5"].finish_reason == REJECTED


def test_questions_rejected_in_a_row_are_not_kept_whatever_is_known(server: Server) -> None:
    generator = openai_generator(server)
    ask(generator, 5)
    server.always = failure(400, "bad gateway settings")
    with pytest.raises(LamarError, match="3 questions in a row got no answer"):
        ask(generator, 50)
    assert kept(generator, 50).keys() == {f"q{number}" for number in range(5)}


@pytest.mark.parametrize("end", ["budget", "wait"])
def test_what_was_rejected_is_kept_however_the_run_ends(server: Server, end: str) -> None:
    """The next run would begin with it, and end at once: so many failures in a row."""
    for question in ("q1", "q3", "q5"):
        server.faults[question].extend([failure(400, "too long")] * 10)
    budget = {"budget_usd": 1000e-6} if end == "budget" else {}
    if end == "wait":
        server.faults["q9"].append(retry_after("86400"))
    with pytest.raises(LamarError, match=r"does not pay for one more|asks to wait"):
        ask(openai_generator(server, concurrency=1, **budget), 50)
    answers = ask(openai_generator(server, concurrency=1), 50)
    assert len(answers) == 50
    assert sum(answer.finish_reason == REJECTED for answer in answers.values()) == 3
    assert {server.asked[question] for question in ("q1", "q3", "q5")} == {1}


def test_when_every_question_is_rejected_the_setting_is_wrong_and_nothing_is_kept(server: Server) -> None:
    server.always = failure(400, "unknown parameter")
    with pytest.raises(LamarError, match="3 questions in a row got no answer, the last: 400: unknown parameter"):
        ask(openai_generator(server), 10)
    assert kept(openai_generator(server), 10) == {}


def test_no_more_requests_at_once_than_allowed(server: Server) -> None:
    server.latency = 0.05
    ask(openai_generator(server, concurrency=5), 40)
    assert server.most == 5


def test_requests_per_minute(server: Server) -> None:
    ask(openai_generator(server, requests_per_minute=600), 11)
    assert server.begun[-1] - server.begun[0] > 0.9


def test_tokens_per_minute(server: Server) -> None:
    """A question is about 16 tokens and the answer may be 64: 80 of 4,800 a minute are one second."""
    ask(openai_generator(server, tokens_per_minute=4800), 3)
    assert server.begun[-1] - server.begun[0] > 1.9


def test_asking_is_concurrent(server: Server) -> None:
    server.latency = 1
    ask(openai_generator(server, concurrency=50), 100)
    assert 40 < server.most <= 50


def test_another_process_is_asking(server: Server) -> None:
    with journal.opened(JOURNAL), pytest.raises(LamarError, match="another process is asking; wait for it or stop it"):
        ask(openai_generator(server), 3)
    assert server.requests == 0


def test_what_another_process_has_answered_meanwhile_is_not_asked(server: Server) -> None:
    generator = openai_generator(server)
    missing = chats(generator, 5)  # as this process saw it
    ask(generator, 3)  # the other one
    asking.ask(missing, JOURNAL, "gen", generator, SETTINGS)
    assert set(server.asked.values()) == {1}


def test_a_missing_key_is_named(server: Server, monkeypatch) -> None:
    monkeypatch.delenv("TEST_API_KEY")
    expected = r"^TEST_API_KEY: no key for small; export it or write TEST_API_KEY=\.\.\. to \.env$"
    with pytest.raises(LamarError, match=expected):
        ask(openai_generator(server), 3)


def test_a_key_in_a_dotenv_file_is_found_from_a_folder_below(server: Server, monkeypatch, tmp_path) -> None:
    (tmp_path / ".env").write_text(f"TEST_API_KEY={SECRET}\n")
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    monkeypatch.delenv("TEST_API_KEY")
    server.always = failure(401, "<key>")
    with pytest.raises(LamarError, match=r"401: \*\*\*"):
        ask(openai_generator(server), 1)


def test_a_server_of_ones_own_needs_neither_key_nor_budget(server: Server) -> None:
    free = {"input": 0, "output": 0, "as_of": "2026-11-01"}
    assert len(ask(openai_generator(server, key=None, price=free, budget_usd=None), 3)) == 3
