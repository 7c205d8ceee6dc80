from __future__ import annotations

import pytest
from llm_generators import JOURNAL, ask, chats, gemini_generator, kept, openai_generator
from llm_server import FAULTS, Server, completion, generated, hung_up, says

from lamar.errors import LamarError
from lamar.llm import journal
from lamar.llm.journal import Answer
from lamar.llm.money import Budget, cost, paid, tokens_at_most
from lamar.llm.usage import costs, estimate, usage

COST = 140e-6  # USD of one answer: 100 tokens read at 1 and 20 written at 2 USD per million
MOST = 162e-6  # of asking "q0": 2 bytes and twice the frame of 16, and 64 tokens to write
NO_BUDGET = r"^gen costs money and has no budget; set one, e\.g\. -S generators\.gen\.budget_usd=5 \(lamar estimate"


@pytest.mark.parametrize("generator", [openai_generator, gemini_generator])
def test_a_paid_provider_without_a_budget_asks_nothing(server: Server, generator) -> None:
    with pytest.raises(LamarError, match=NO_BUDGET):
        ask(generator(server, budget_usd=None), 3)
    assert server.requests == 0
    assert not JOURNAL.exists()


def test_the_budget_is_said_to_be_missing_before_the_key(server: Server, monkeypatch) -> None:
    monkeypatch.delenv("TEST_API_KEY")
    with pytest.raises(LamarError, match=NO_BUDGET):
        ask(openai_generator(server, budget_usd=None), 3)


@pytest.mark.parametrize("concurrency", [1, 8])
def test_the_budget_is_used_up_and_never_exceeded(server: Server, concurrency: int) -> None:
    """Six answers cost 840 millionths, and a seventh might cost 162 more."""
    generator = openai_generator(server, budget_usd=1000e-6, concurrency=concurrency)
    with pytest.raises(LamarError, match=r"^generators\.gen\.budget_usd: \$0\.001 does not pay for one more question"):
        ask(generator, 50)
    assert server.requests == len(kept(generator, 50)) == 6


def test_what_earlier_runs_have_paid_counts(server: Server) -> None:
    generator = openai_generator(server, budget_usd=1000e-6)
    ask(generator, 4)
    with pytest.raises(LamarError, match=r"\$0\.0008 are spent on this dataset\); raise it and run the same command"):
        ask(generator, 50)
    assert server.requests == 6
    assert len(ask(openai_generator(server, budget_usd=1), 50)) == 50
    assert server.requests == 50


def test_a_request_that_never_came_back_may_have_cost_the_most(server: Server) -> None:
    server.always = hung_up
    with pytest.raises(LamarError, match="does not pay for one more question"):
        ask(openai_generator(server, budget_usd=5.5 * MOST, concurrency=1), 10, attempts=100)
    assert server.requests == 5


@pytest.mark.parametrize("way", [openai_generator, gemini_generator])
def test_what_never_came_back_counts_in_the_next_run_too(server: Server, way) -> None:
    server.always = hung_up
    generator = way(server, budget_usd=5.5 * MOST, concurrency=1)
    for _ in range(3):
        with pytest.raises(LamarError, match="does not pay for one more question"):
            ask(generator, 10, attempts=100)
        assert server.requests == 5
    assert kept(generator, 10) == {}
    assert [request.reserved_usd for request in journal.lost(JOURNAL)] == [pytest.approx(MOST)] * 5
    server.always = None
    assert len(ask(way(server), 10)) == 10
    assert server.requests == 15


def test_a_request_that_the_server_refused_costs_nothing(server: Server) -> None:
    server.script.extend([FAULTS["503"], FAULTS["429"]] * 2)
    assert len(ask(openai_generator(server, budget_usd=4.5 * MOST, concurrency=1), 3, attempts=10)) == 3


def test_no_tokenizer_makes_more_tokens_than_is_reckoned_with() -> None:
    messages = ({"role": "user", "content": "für 🙂"}, {"role": "assistant", "content": ""})
    assert tokens_at_most(messages) == len("für 🙂".encode()) + 3 * 16


def test_costs(server: Server) -> None:
    assert cost(openai_generator(server), 1_000_000, 500_000) == 2.0
    assert cost(openai_generator(server, mode="batch"), 1_000_000, 500_000) == 1.0
    budget = Budget("gen", openai_generator(server), [])
    for _ in range(1000):
        budget.reserve(0.1)
    for _ in range(1000):
        budget.settle(0.1, 0.005)
    assert budget.spent == pytest.approx(5)
    assert budget.affords(4.99)
    assert not budget.affords(5.01)


def test_an_answer_of_a_batch_costs_what_it_did_however_the_next_is_asked(server: Server) -> None:
    live, batch = openai_generator(server), openai_generator(server, mode="batch")
    ask(live, 2)
    answers = ask(batch, 6).values()
    assert (
        usage(answers, live)["cost_usd"] == usage(answers, batch)["cost_usd"] == pytest.approx(2 * COST + 4 * COST / 2)
    )


def test_an_answer_whose_tokens_nobody_counted_costs_the_most(server: Server) -> None:
    server.always = says(completion("?", usage=None))
    with pytest.raises(LamarError, match="does not pay for one more question"):
        ask(openai_generator(server, budget_usd=3.5 * MOST), 10)
    assert server.requests == 3


@pytest.mark.parametrize("mode", ["live", "batch"])
def test_tokens_that_nobody_counted_cost_the_most_in_every_run_and_in_the_sums(server: Server, mode: str) -> None:
    most = MOST / (2 if mode == "batch" else 1)
    server.always = says(completion("?", usage=None))
    server.batch_bodies = {f"q{number}": completion("?", usage=None) for number in range(10)}
    generator = openai_generator(server, budget_usd=3.5 * most, mode=mode)
    for _ in range(3):
        with pytest.raises(LamarError, match="does not pay for one more question"):
            ask(generator, 10)
        assert server.requests == 3
    answers = kept(generator, 10).values()
    assert usage(answers, generator)["cost_usd"] == pytest.approx(3 * most)
    assert paid(generator, answers) == pytest.approx(3 * most)


def test_an_answer_of_a_batch_that_cannot_be_read_counts(server: Server) -> None:
    server.batch_bodies = {"q0": completion("?", choices=[])}
    generator = openai_generator(server, mode="batch", budget_usd=0.6 * COST + 1.5 * MOST / 2)
    for _ in range(2):
        with pytest.raises(LamarError, match=r"brought no answer: broken answer|does not pay for one more question"):
            ask(generator, 2)
    assert server.asked == {"q0": 1, "q1": 1}
    assert len(journal.lost(JOURNAL)) == 1


def test_what_a_model_thinks_costs_too_where_the_total_alone_tells(server: Server) -> None:
    server.always = says(completion("?", usage={"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 420}))
    generator = openai_generator(server)
    found = usage(ask(generator, 1).values(), generator)
    assert (found["input_tokens"], found["output_tokens"]) == (100, 320)
    counts = {"promptTokenCount": 100, "candidatesTokenCount": 20, "totalTokenCount": 420}
    server.always = says(generated("?", usageMetadata=counts))
    gemini = gemini_generator(server)
    found = usage(ask(gemini, 1).values(), gemini)
    assert (found["input_tokens"], found["output_tokens"]) == (100, 320)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens", "n", "candidate_count"])
@pytest.mark.parametrize("way", [openai_generator, gemini_generator])
def test_no_option_undoes_what_the_budget_reckons_with(server: Server, way, name: str) -> None:
    with pytest.raises(ValueError, match=f"no {name} here: the budget reckons with one answer of max_tokens"):
        way(server, options={name: 4000})


def test_a_line_of_an_earlier_version_reads_as_before(tmp_path) -> None:
    line = '{"attempts": 1, "finish_reason": "stop", "input_tokens": 1, "key": "k", "model": "m", "output_tokens": 2, '
    (tmp_path / "j").write_text(line + '"seconds": 0.5, "text": "t"}\n')
    (answer,) = journal.read(tmp_path / "j").values()
    assert answer == Answer("k", "m", "t", "stop", 1, 2, seconds=0.5, attempts=1)
    assert journal.to_line(answer) == (tmp_path / "j").read_text()


def test_usage_adds_up_what_the_journal_says(server: Server) -> None:
    server.faults["q1"].extend([FAULTS["500"], FAULTS["503"]])
    generator = openai_generator(server)
    found = usage(ask(generator, 10).values(), generator)
    assert {name: found[name] for name in list(found)[:5]} == {
        "requests": 10,
        "input_tokens": 1000,
        "output_tokens": 200,
        "cost_usd": pytest.approx(10 * COST),
        "retries": 2,
    }
    assert 0 < found["latency_p50"] <= found["latency_p90"] <= found["latency_p99"]


def test_percentiles_are_values_that_were_measured(server: Server) -> None:
    answers = [Answer(str(n), "m", "", "stop", 1, 1, seconds=float(n), attempts=1) for n in range(1, 101)]
    found = usage(answers, openai_generator(server))
    assert (found["latency_p50"], found["latency_p90"], found["latency_p99"]) == (50, 90, 99)


def test_a_local_models_usage_costs_nothing(tiny_llm) -> None:
    assert usage([Answer("k", "m", "", "stop", 3, 4)], tiny_llm) == {
        "requests": 1,
        "input_tokens": 3,
        "output_tokens": 4,
        "cost_usd": 0.0,
        "retries": 0,
    }


def test_an_estimate_before_the_first_answer_is_an_approximation(server: Server) -> None:
    generator = openai_generator(server)
    found = estimate(chats(generator, 10), {}, generator)
    assert (found.questions, found.missing, found.most, found.expected) == (10, 10, 640, None)
    assert found.input_tokens == 10 * 16
    assert found.counted == "an approximation: 4 characters a token, of Chinese or Japanese one"
    assert found.most_input == 10 * (2 + 2 * 16), "q0 is two bytes"
    usd = ["$0.0016 at most, $0.0014", "$0.0008 at most, $0.0007"]
    live, batch = (f"{each} if every answer is as long as it may be" for each in usd)
    assert costs(found, generator.price) == [("cost", live), ("in a batch", batch)]
    assert costs(found, generator.price.model_copy(update={"batch_input": None})) == [("cost", live)]


def test_an_estimate_learns_from_the_answers_so_far(server: Server) -> None:
    generator = openai_generator(server)
    server.script.append(says(completion("?", usage={"prompt_tokens": 8, "completion_tokens": 30, "total_tokens": 38})))
    first = ask(generator, 1)["q0"]
    found = estimate(chats(generator, 10), {first.key: first}, generator)
    assert (found.missing, found.expected, found.input_tokens) == (9, 9 * 30, 9 * 8)
    assert found.counted == "0.25 characters a token, as in 1 answers so far"


def test_a_local_model_counts_with_its_own_tokenizer(tiny_llm) -> None:
    from lamar.llm.local import LocalModel

    questions = chats(tiny_llm, 5)
    answers = [answer for batch in LocalModel(tiny_llm, 5).ask(list(questions.values())) for answer in batch]
    found = estimate(questions, {}, tiny_llm)
    assert found.input_tokens == sum(answer.input_tokens for answer in answers)
    assert found.counted == "counted with the model's tokenizer"
