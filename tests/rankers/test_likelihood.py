"""Answers read together have the likelihood that each has alone, and packing loses none."""

import copy

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from lamar.rankers import likelihood
from lamar.rankers.attention import by_case
from lamar.rankers.likelihood import Case, answer_log_likelihoods, packed, row_of, token_log_likelihoods

WORDS = 50


@pytest.fixture(scope="module")
def llm() -> Qwen2ForCausalLM:
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=WORDS,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,  # large: every token and its place then matter
        attn_implementation=by_case(),
    )
    return Qwen2ForCausalLM(config).eval()


def tokens(length: int, seed: int) -> list[int]:
    return np.random.default_rng(seed).integers(WORDS, size=length).tolist()


def case(question: int, answers: list[int], seed: int = 0) -> Case:
    return Case(tokens(question, seed), [tokens(length, seed + number) for number, length in enumerate(answers, 1)])


@torch.no_grad()
def alone(llm: Qwen2ForCausalLM, case: Case, number: int) -> torch.Tensor:
    """Log-likelihoods of one answer's tokens, by a plain causal pass over question and answer."""
    answer = list(case.answers[number])
    ids = torch.tensor([[*case.question, *answer]])
    predicted = llm(input_ids=ids).logits[0, len(case.question) - 1 : -1].log_softmax(-1)
    return predicted[torch.arange(len(answer)), torch.tensor(answer)]


CASES = [case(7, [3, 1, 5], seed=1), case(1, [2], seed=2), case(12, [4, 4], seed=3), case(1, [3, 1], seed=9)]


@torch.no_grad()
@pytest.mark.parametrize("at_once", [likelihood.TOKENS_AT_ONCE, 5])
def test_answers_in_a_row_have_the_likelihood_they_have_alone(llm, monkeypatch, at_once):
    monkeypatch.setattr(likelihood, "TOKENS_AT_ONCE", at_once)
    values = token_log_likelihoods(llm, row_of(CASES))
    expected = torch.cat([alone(llm, case, number) for case in CASES for number in range(len(case.answers))])
    torch.testing.assert_close(values, expected, rtol=1e-4, atol=1e-4)
    assert len(values) == 3 + 1 + 5 + 2 + 4 + 4 + 3 + 1


@torch.no_grad()
def test_a_model_that_would_see_other_cases_fails(llm):
    plain = Qwen2ForCausalLM(copy.deepcopy(llm.config))
    plain.set_attn_implementation("sdpa")
    with pytest.raises(RuntimeError):
        token_log_likelihoods(plain, row_of(CASES))


@torch.no_grad()
def test_an_answer_is_scored_by_the_mean_over_its_tokens(llm):
    values = answer_log_likelihoods(llm, row_of(CASES))
    expected = [alone(llm, case, number).mean() for case in CASES for number in range(len(case.answers))]
    torch.testing.assert_close(values, torch.stack(expected), rtol=1e-4, atol=1e-4)


def test_what_sees_what_by_hand():
    row = row_of([Case([1, 2], [[3, 4], [5]]), Case([6], [[7]])])
    assert row.ids.tolist() == [1, 2, 3, 4, 5, 6, 7]
    assert row.places.tolist() == [0, 1, 2, 3, 2, 0, 1]
    [(first, seen), second] = row.cases
    assert first == 5
    assert seen.int().tolist() == [  # of the answers' tokens; the question's see what is before them
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert second == (2, None)  # one answer: each token sees all before it
    assert row.reads.tolist() == [1, 2, 1, 5]
    assert row.writes.tolist() == [3, 4, 5, 7]
    assert row.answer.tolist() == [0, 0, 1, 2]


def test_packing_keeps_every_case_once_and_rows_within_their_size():
    rng = np.random.default_rng(0)
    cases = [case(int(rng.integers(1, 30)), [int(rng.integers(1, 5))], seed) for seed in range(200)]
    groups = packed(cases, 64)
    assert sorted(number for group in groups for number in group) == list(range(200))
    sizes = [sum(cases[number].tokens for number in group) for group in groups]
    assert max(sizes) <= 64
    assert sum(sizes) / (64 * len(sizes)) > 0.9


def test_a_case_longer_than_a_row_is_a_row_of_its_own():
    assert packed([case(5, [5]), case(50, [5]), case(3, [2])], 20) == [[1], [0, 2]]
