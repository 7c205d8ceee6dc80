from __future__ import annotations

import pytest
from llm_generators import ask, chats, gemini_generator, openai_generator
from llm_server import READ, WRITTEN, Server, answer_to, failure, generated, half_closed, hung_up, says

from lamar.errors import LamarError
from lamar.llm.provider import BLOCKED, connect, identity
from lamar.llm.runner import REJECTED

FAULTS = {
    "429": failure(429, "quota"),
    "500": failure(500, "internal"),
    "503": failure(503, "overloaded"),
    "half-closed": half_closed,
    "hung up": hung_up,
    "malformed JSON": says('{"candidates": ['),
    "no JSON": says("<html>gateway</html>", "text/html"),
    "no candidates": says({"usageMetadata": {}}),
}


def test_every_question_is_asked_once_and_answered(server: Server) -> None:
    answers = ask(gemini_generator(server), 12)
    assert {question: answer.text for question, answer in answers.items()} == {
        f"q{number}": answer_to(f"q{number}") for number in range(12)
    }
    assert set(server.asked.values()) == {1}
    one = answers["q0"]
    assert (one.model, one.finish_reason, one.input_tokens, one.output_tokens, one.attempts) == (
        "gemini-1.5-flash-002", "stop", READ, WRITTEN, 1
    )  # fmt: skip


def test_the_request_is_what_params_say(server: Server) -> None:
    ask(gemini_generator(server, options={"temperature": 0.5, "top_p": 0.5}), 1)
    (body,) = server.bodies
    assert body["contents"] == [{"role": "user", "parts": [{"text": "q0"}]}]
    assert body["generationConfig"] == {"maxOutputTokens": 64, "temperature": 0.5, "topP": 0.5}


def test_a_system_message_and_earlier_turns(server: Server) -> None:
    import asyncio

    messages = (
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two"},
    )
    reply = asyncio.run(connect(gemini_generator(server), 60).ask(messages))
    assert reply.text == answer_to("two")
    assert server.bodies[0]["systemInstruction"]["parts"] == [{"text": "be brief"}]
    assert [turn["role"] for turn in server.bodies[0]["contents"]] == ["user", "model", "user"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_asked_again(server: Server, fault: str) -> None:
    server.faults["q1"].append(FAULTS[fault])
    answers = ask(gemini_generator(server), 3)
    assert answers["q1"].text == answer_to("q1")
    assert server.asked == {"q0": 1, "q1": 2, "q2": 1}


def test_retry_after_is_honoured(server: Server) -> None:
    server.script.append(failure(429, "quota", headers={"Retry-After": "2"}))
    ask(gemini_generator(server, concurrency=1), 2)
    assert server.begun[1] - server.begun[0] > 2


@pytest.mark.parametrize(
    "withheld",
    [generated("?", "SAFETY", candidates=[{"finishReason": "SAFETY"}]), {"promptFeedback": {"blockReason": "SAFETY"}}],
    ids=["answer", "question"],
)
def test_a_withheld_answer_is_an_answer(server: Server, withheld: dict) -> None:
    server.faults["q1"].append(says(withheld))
    generator = gemini_generator(server)
    answer = ask(generator, 3)["q1"]
    assert (answer.text, answer.finish_reason) == ("", BLOCKED)
    ask(generator, 3)
    assert server.requests == 3


def test_an_answer_that_was_cut_says_so(server: Server) -> None:
    server.script.append(says(generated("q0", "MAX_TOKENS")))
    assert ask(gemini_generator(server), 1)["q0"].finish_reason == "length"


@pytest.mark.parametrize(
    ("status", "message"), [(403, "no: <key>"), (404, "no: <key>"), (400, "API key not valid <key>")]
)
def test_a_wrong_key_or_model_ends_the_run_and_is_not_told(server: Server, status: int, message: str) -> None:
    server.always = failure(status, message)
    with pytest.raises(LamarError, match=rf"^gemini-1.5-flash-002 refuses to answer: {status}: .*\*\*\*$"):
        ask(gemini_generator(server), 30)
    assert server.requests <= 4


def test_a_rejected_question_is_rejected_for_good(server: Server) -> None:
    server.faults["q1"].append(failure(400, "too long"))
    assert ask(gemini_generator(server), 4)["q1"].finish_reason == REJECTED


def test_as_many_requests_at_once_as_allowed(server: Server) -> None:
    server.latency = 0.5
    ask(gemini_generator(server, concurrency=12), 24)
    assert 8 <= server.most <= 12


def test_who_answers_enters_the_key(server: Server) -> None:
    mine = gemini_generator(server)
    keys = [
        set(chats(generator, 1))
        for generator in (
            mine,
            gemini_generator(server, model="gemini-2.5-flash"),
            gemini_generator(server, max_tokens=65),
            gemini_generator(server, options={}),
            openai_generator(server, model=mine.model),
        )
    ]
    assert len(set.union(*keys)) == 5
    assert identity(mine) == identity(gemini_generator(server, concurrency=1, budget_usd=1))
