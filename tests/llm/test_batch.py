from __future__ import annotations

import json
from pathlib import Path

import pytest
from llm_generators import JOURNAL, SECRET, ask, chats, kept, openai_generator
from llm_server import READ, WRITTEN, Server, answer_to, completion, failure, hung_up

from lamar.errors import LamarError
from lamar.llm import journal

ANSWERED = (READ * 0.5 + WRITTEN * 1.0) / 1e6  # USD
MOST = (34 * 0.5 + 64 * 1.0) / 1e6  # of one question
SENT = Path(f"{JOURNAL}.batch.json")


def batch_generator(server: Server, **changes):
    return openai_generator(server, mode="batch", **changes)


def refusal(status: int, message: str) -> dict:
    return {"response": {"status_code": status, "body": {"error": {"message": message}}}}


def test_a_batch_answers_every_question_once(server: Server) -> None:
    answers = ask(batch_generator(server), 20)
    assert {question: answer.text for question, answer in answers.items()} == {
        f"q{number}": answer_to(f"q{number}") for number in range(20)
    }
    assert server.calls == {"upload": 1, "create": 1, "retrieve": 2, "download": 1}
    assert not SENT.exists()
    one = answers["q0"]
    assert (one.model, one.finish_reason, one.input_tokens, one.output_tokens) == ("served", "stop", READ, WRITTEN)


def test_the_file_is_what_the_api_asks_for(server: Server) -> None:
    generator = batch_generator(server)
    ask(generator, 2)
    lines = [json.loads(line) for line in server.files["file-0"].splitlines()]
    assert [line["custom_id"] for line in lines] == list(chats(generator, 2))
    assert lines[0] | {"custom_id": ""} == {
        "custom_id": "",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {
            "model": "small",
            "messages": [{"role": "user", "content": "q0"}],
            "max_completion_tokens": 64,
            "temperature": 0,
        },
    }
    assert server.batches["batch-0"]["completion_window"] == "24h"


def test_live_and_batch_answers_are_the_same_answers(server: Server) -> None:
    ask(openai_generator(server), 5)
    ask(batch_generator(server), 8)
    assert server.files["file-0"].count(b"\n") == 3
    ask(openai_generator(server), 8)
    assert set(server.asked.values()) == {1}


def test_what_fails_in_a_batch_is_asked_again_in_the_next(server: Server) -> None:
    server.batch_errors = {
        "q1": refusal(500, "internal"),
        "q2": {"error": {"code": "batch_expired", "message": "late"}},
    }
    answers = ask(batch_generator(server), 5)
    assert len(answers) == 5
    assert server.calls["create"] == 2
    assert server.asked == {"q0": 1, "q1": 2, "q2": 2, "q3": 1, "q4": 1}


def test_what_is_rejected_in_a_batch_is_rejected_for_good(server: Server) -> None:
    server.batch_errors = {"q1": refusal(400, "too long")}
    assert ask(batch_generator(server), 5)["q1"].finish_reason == "rejected"
    assert server.calls["create"] == 1


def test_what_a_later_batch_rejects_is_rejected_for_good(server: Server) -> None:
    server.batch_errors = {"q1": refusal(500, "internal")}
    generator = batch_generator(server)
    server.looks.append(failure(401, "interrupted"))
    with pytest.raises(LamarError):
        ask(generator, 5)
    server.batch_errors["q5"] = refusal(400, "too long")
    assert ask(generator, 6)["q5"].finish_reason == "rejected"
    assert server.asked["q5"] == 1


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_what_is_denied_in_a_batch_is_not_rejected(server: Server, status: int) -> None:
    server.batch_errors = {"q1": refusal(status, "no access")}
    generator = batch_generator(server)
    assert ask(generator, 3)["q1"].text == answer_to("q1")
    server.batch_errors = {"q3": refusal(status, f"no access with {SECRET}")}
    with pytest.raises(
        LamarError, match=r"a batch of 1 questions brought no answer: no access with \*\*\*; run the same"
    ):
        ask(generator, 4)
    assert kept(generator, 4).keys() == {"q0", "q1", "q2"}


def test_a_batch_without_any_answer_is_an_error(server: Server) -> None:
    server.batch_errors = {f"q{number}": refusal(400, "unknown parameter") for number in range(3)}
    with pytest.raises(LamarError, match="a batch of 3 questions brought no answer: unknown parameter; run the same"):
        ask(batch_generator(server), 3)
    assert journal.read(JOURNAL) == {}
    assert not SENT.exists()


def test_a_failed_batch_is_an_error_and_the_next_run_starts_anew(server: Server) -> None:
    server.batch_ends = "failed"
    with pytest.raises(LamarError, match=r"^batch batch-0 failed: Enqueued token limit$"):
        ask(batch_generator(server), 3)
    server.batch_ends = "completed"
    assert len(ask(batch_generator(server), 3)) == 3
    assert server.calls["create"] == 2


def test_what_an_expired_batch_has_answered_is_kept_and_the_rest_asked_again(server: Server) -> None:
    server.batch_ends = "expired"
    late = {"response": None, "error": {"code": "batch_expired", "message": "not within 24 hours"}}
    server.batch_errors = {"q0": late, "q1": late}
    assert len(ask(batch_generator(server), 4)) == 4
    assert server.asked == {"q0": 2, "q1": 2, "q2": 1, "q3": 1}


def test_a_batch_that_expired_without_an_answer_is_an_error(server: Server) -> None:
    server.batch_ends = "expired"
    server.batch_errors = {"q0": {"response": None, "error": {"message": "not within 24 hours"}}}
    with pytest.raises(LamarError, match="a batch of 1 questions brought no answer: not within 24 hours"):
        ask(batch_generator(server), 1)


def test_a_cancelled_batch_keeps_its_answers(server: Server) -> None:
    server.batch_ends = "cancelled"
    server.batch_errors = {"q0": {"response": None, "error": {"message": "cancelled"}}}
    generator = batch_generator(server)
    with pytest.raises(LamarError, match="batch batch-0 was cancelled; its answers are kept: run the same command"):
        ask(generator, 3)
    assert kept(generator, 3).keys() == {"q1", "q2"}


def test_many_questions_take_several_batches(server: Server) -> None:
    assert len(ask(batch_generator(server), 10, batch_requests=4)) == 10
    assert [server.files[batch["input_file_id"]].count(b"\n") for batch in server.batches.values()] == [4, 4, 2]


def test_a_batch_whose_creation_was_not_answered_is_found_and_not_created_twice(server: Server) -> None:
    generator = batch_generator(server)
    server.script.append(hung_up)
    with pytest.raises(LamarError, match=r"^the Batch API at http.*; run the same command to go on$"):
        ask(generator, 5)
    assert server.calls["create"] == 1
    assert len(ask(generator, 5)) == 5
    assert (server.calls["upload"], server.calls["create"]) == (1, 1)
    assert set(server.asked.values()) == {1}


def test_a_batch_that_is_under_way_is_awaited_by_the_next_run(server: Server) -> None:
    generator = batch_generator(server)
    server.looks.append(failure(401, "no longer: <key>"))
    with pytest.raises(LamarError, match=r"no longer: \*\*\*; run the same command"):
        ask(generator, 5)
    assert json.loads(SENT.read_text())["batch"] == "batch-0"
    assert len(ask(generator, 5)) == 5
    assert (server.calls["upload"], server.calls["create"]) == (1, 1)


def test_what_was_merged_before_the_end_is_neither_kept_nor_counted_twice(server: Server) -> None:
    """A run was killed after it wrote the answers and before it could say that it had."""
    generator = batch_generator(server)
    server.looks.append(failure(401, "interrupted"))
    with pytest.raises(LamarError):
        ask(generator, 5)
    sent = SENT.read_bytes()
    server.batch_bodies = {"q4": completion("?", choices=[])}
    with pytest.raises(LamarError):
        ask(batch_generator(server, budget_usd=6 * MOST), 5, batch_requests=5)
    before = JOURNAL.read_text().splitlines()
    server.batch_bodies.clear()
    SENT.write_bytes(sent)
    enough = 4 * ANSWERED + 2 * MOST + 2.5 * MOST
    assert len(ask(batch_generator(server, budget_usd=enough), 6)) == 6
    after = JOURNAL.read_text().splitlines()
    assert after[: len(before)] == before
    assert len(after) == len(before) + 2


def test_the_batch_of_other_questions_costs_todays_budget_nothing(server: Server) -> None:
    server.looks.append(failure(401, "interrupted"))
    with pytest.raises(LamarError):
        ask(batch_generator(server), 50)
    other = batch_generator(server, options={"temperature": 1}, budget_usd=2.5 * MOST)
    assert len(ask(other, 2)) == 2


def test_an_outage_while_waiting_is_waited_for(server: Server) -> None:
    server.looks.extend([failure(503, "down"), hung_up, failure(429, "slow down"), failure(500, "down")])
    assert len(ask(batch_generator(server), 2, attempts=1)) == 2


@pytest.mark.parametrize("call", ["upload", "download"])
def test_no_call_is_tried_by_the_sdk_and_by_us(server: Server, call: str) -> None:
    """The SDK's own retries would come within milliseconds of each other, and for each of ours."""
    server.outages[call].extend([failure(503, "down")] * 3)
    assert len(ask(batch_generator(server), 2, attempts=4)) == 2
    assert server.calls[call] == 4


def test_how_often_a_batch_is_looked_at_is_ours_to_say(server: Server) -> None:
    server.looks.extend([failure(503, "down")] * 100)
    with pytest.raises(LamarError, match="down; run the same command to go on"):
        ask(batch_generator(server), 2, attempts=8, poll=0.2, longest_wait=0.5)
    assert server.calls["retrieve"] <= 4


def test_the_accounts_batches_are_listed_only_to_find_one(server: Server) -> None:
    ask(batch_generator(server), 8, batch_requests=2)
    assert server.calls["list"] == 0


def test_a_long_outage_ends_the_waiting_not_the_batch(server: Server) -> None:
    generator = batch_generator(server)
    server.looks.extend([failure(503, "down")] * 100)
    with pytest.raises(LamarError, match="down; run the same command to go on"):
        ask(generator, 2, attempts=1, longest_wait=0.5)
    server.looks.clear()
    assert len(ask(generator, 2)) == 2
    assert server.calls["create"] == 1


def test_the_batch_of_another_prompt_is_fetched_first(server: Server) -> None:
    """Its answers are paid for: they are kept, and then today's questions are asked."""
    generator = batch_generator(server)
    server.script.append(hung_up)
    with pytest.raises(LamarError):
        ask(generator, 5)
    other = batch_generator(server, options={"temperature": 1})
    assert len(ask(other, 2)) == 2
    assert len(kept(generator, 5)) == 5
    assert server.calls["create"] == 2


def test_a_batch_at_another_server_is_not_given_up(server: Server) -> None:
    server.script.append(hung_up)
    with pytest.raises(LamarError):
        ask(batch_generator(server), 2)
    with pytest.raises(LamarError, match=r"batch\.json: a batch is under way at http.*delete this file to give it up"):
        ask(batch_generator(server, base_url=server.url.replace("127.0.0.1", "localhost")), 2)


def test_a_batch_is_no_larger_than_the_budget(server: Server) -> None:
    """An answer costs (100 * 0.5 + 20 * 1.0) / 1e6; the most it may cost is (34 * 0.5 + 64 * 1.0) / 1e6."""
    generator = batch_generator(server, budget_usd=200e-6)
    with pytest.raises(LamarError, match="does not pay for one more question"):
        ask(generator, 10)
    assert len(server.files["file-0"].splitlines()) == 2
    assert len(kept(generator, 10)) == 2


def test_what_a_batch_under_way_asks_is_not_asked_live(server: Server) -> None:
    server.looks.append(failure(401, "interrupted"))
    with pytest.raises(LamarError):
        ask(batch_generator(server), 5)
    told = r"batch\.json: a batch under way asks 5 of these questions; fetch its answers with mode: batch, or delete"
    with pytest.raises(LamarError, match=told):
        ask(openai_generator(server), 7)
    assert server.requests == 0
    assert len(ask(batch_generator(server), 5)) == 5
    assert len(ask(openai_generator(server), 7)) == 7
    assert set(server.asked.values()) == {1}


def test_other_questions_are_asked_live_while_a_batch_is_under_way(server: Server) -> None:
    server.looks.append(failure(401, "interrupted"))
    with pytest.raises(LamarError):
        ask(batch_generator(server), 5)
    assert len(ask(openai_generator(server, max_tokens=65), 3)) == 3
    assert SENT.exists()


def test_a_batch_that_does_not_say_what_it_asks_may_ask_anything(server: Server) -> None:
    """Files of earlier versions."""
    server.looks.append(failure(401, "interrupted"))
    with pytest.raises(LamarError):
        ask(batch_generator(server), 2)
    sent = json.loads(SENT.read_text())
    del sent["reserved_usd"]
    SENT.write_text(json.dumps(sent))
    with pytest.raises(LamarError, match="a batch under way asks 3 of these questions"):
        ask(openai_generator(server, max_tokens=65), 3)
    assert len(ask(batch_generator(server), 2)) == 2


def test_a_broken_line_keeps_no_other_answer_out(server: Server) -> None:
    server.batch_bodies = {
        "q1": completion("?", choices=[{"message": {"content": [{"type": "text", "text": "hi"}]}}]),
        "q2": {"error": {"message": "upstream failed"}},
        "q3": None,
    }
    generator = batch_generator(server)
    with pytest.raises(LamarError, match=r"a batch of 3 questions brought no answer: broken answer \("):
        ask(generator, 5)
    assert kept(generator, 5).keys() == {"q0", "q4"}
    assert not SENT.exists()
    server.batch_bodies.clear()
    assert len(ask(generator, 5)) == 5
    assert server.asked == {"q0": 1, "q1": 3, "q2": 3, "q3": 3, "q4": 1}
