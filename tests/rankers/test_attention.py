"""Attention in blocks is PyTorch's, forward and backward, for cases longer and shorter than a block."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.qwen2.modeling_qwen2 import eager_attention_forward

from lamar.errors import LamarError
from lamar.rankers.attention import BLOCK, attend, in_blocks


def states(tokens: int, heads: int, key_heads: int) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(1, count, tokens, 8, requires_grad=True) for count in (heads, key_heads, key_heads)]


@pytest.mark.parametrize("tokens", [1, 5, BLOCK, 2 * BLOCK + 3])
@pytest.mark.parametrize(("heads", "key_heads"), [(4, 4), (6, 2)])
def test_causal_attention(tokens, heads, key_heads):
    query, key, value = states(tokens, heads, key_heads)
    ours = in_blocks(query, key, value, None, scaling=0.3)
    theirs = scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3, enable_gqa=True)
    assert ours.shape == (1, tokens, heads, 8)
    same(ours, theirs, (query, key, value))


def test_causal_attention_of_the_last_tokens_alone():
    query, key, value = states(2 * BLOCK + 30, 6, 2)
    last = query[:, :, -BLOCK - 7 :]
    seen = torch.ones(BLOCK + 7, 2 * BLOCK + 30, dtype=torch.bool).tril(diagonal=BLOCK + 23)
    ours = in_blocks(last, key, value, None, scaling=0.3)
    theirs = scaled_dot_product_attention(last, key, value, attn_mask=seen, scale=0.3, enable_gqa=True)
    same(ours, theirs, (query, key, value))


def same(ours: Tensor, theirs: Tensor, states: tuple[Tensor, ...]) -> None:
    """The same values, and the same gradients of the states."""
    torch.testing.assert_close(ours.transpose(1, 2), theirs)
    weights = torch.randn_like(theirs)
    ours = torch.autograd.grad((ours.transpose(1, 2) * weights).sum(), states)
    torch.testing.assert_close(ours, torch.autograd.grad((theirs * weights).sum(), states))


def test_the_last_tokens_see_all_others_and_what_they_are_let_of_each_other():
    query, key, value = states(2 * BLOCK, 6, 2)
    last = query[:, :, : BLOCK + 7]
    each_other = torch.rand(BLOCK + 7, BLOCK + 7) < 0.5
    seen = torch.cat([torch.ones(BLOCK + 7, BLOCK - 7, dtype=torch.bool), each_other], dim=1)
    ours = in_blocks(last, key, value, each_other, scaling=0.3)
    theirs = scaled_dot_product_attention(last, key, value, attn_mask=seen, scale=0.3, enable_gqa=True)
    same(ours, theirs, (query, key, value))


def test_answers_see_their_question_and_themselves():
    """More of them than a block has queries, of lengths that end inside of blocks."""
    query, key, value = states(3 * BLOCK + 9, 6, 2)
    answers = torch.arange(2 * BLOCK + 9) // 31
    own = (answers[:, None] == answers).tril()
    seen = torch.cat([torch.ones(len(own), BLOCK, dtype=torch.bool), own], dim=1)
    last = query[:, :, BLOCK:]
    ours = in_blocks(last, key, value, own, scaling=0.3)
    theirs = scaled_dot_product_attention(last, key, value, attn_mask=seen, scale=0.3, enable_gqa=True)
    same(ours, theirs, (query, key, value))


@pytest.mark.parametrize("tokens", [5, 2 * BLOCK + 3])
def test_in_bfloat16_it_is_as_near_to_float32_as_transformers_eager_is(tokens):
    """Scores are rounded to the precision of the states, as there: no more is lost."""
    whole = [part.detach() for part in states(tokens, 6, 2)]
    rounded = [part.bfloat16() for part in whole]
    exact = scaled_dot_product_attention(*whole, is_causal=True, scale=0.3, enable_gqa=True)
    future = torch.full((tokens, tokens), float("-inf")).triu(diagonal=1)
    module = SimpleNamespace(num_key_value_groups=3, training=False)
    theirs, _ = eager_attention_forward(module, *rounded, future.bfloat16()[None, None], scaling=0.3)
    ours = in_blocks(*rounded, None, scaling=0.3)
    assert ours.dtype == torch.bfloat16
    lost = [(found.float() - exact.transpose(1, 2)).abs().mean() for found in (ours, theirs)]
    assert lost[0] <= 1.1 * lost[1]
    torch.testing.assert_close(ours.float(), exact.transpose(1, 2), atol=0.03, rtol=0.03)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"dropout": 0.1}, "take another LLM"),
        ({"softcap": 50.0}, "take another LLM"),
        ({"s_aux": torch.zeros(2)}, "take another LLM"),
        ({"position_bias": torch.zeros(2)}, "take another LLM"),
        ({"sliding_window": 2}, "looks back 2 tokens, of 3 to be read"),
    ],
)
def test_what_it_lacks_is_refused(options, complaint):
    with pytest.raises(LamarError, match=complaint):
        attend(None, *states(3, 2, 2), None, cases=[(3, None)], **options)


def test_it_is_refused_where_an_answer_is_written_too():
    with pytest.raises(LamarError, match=f"looks back 9 tokens, of {BLOCK + 1} to be read"):
        attend(None, *states(BLOCK + 1, 2, 2), None, sliding_window=9)


def test_a_window_must_hold_what_an_answer_sees_not_all_answers():
    """A question of two tokens and answers of one and two: the last token sees four of the five."""
    own = torch.tensor([[1, 0, 0], [0, 1, 0], [0, 1, 1]]).bool()
    seen = torch.cat([torch.ones(3, 2, dtype=torch.bool), own], dim=1)
    module = SimpleNamespace(num_key_value_groups=1, is_causal=True)
    attend(module, *states(5, 2, 2), None, cases=[(5, seen)], sliding_window=4)
    with pytest.raises(LamarError, match="looks back 3 tokens, of 4"):
        attend(module, *states(5, 2, 2), None, cases=[(5, seen)], sliding_window=3)


def test_a_long_row_that_is_padded_is_left_to_transformers():
    module, parts = SimpleNamespace(num_key_value_groups=1, is_causal=True), states(BLOCK + 1, 2, 2)
    mask = torch.ones(1, 1, BLOCK + 1, BLOCK + 1, dtype=torch.bool).tril()
    whole = attend(module, *parts, mask)[0]
    torch.testing.assert_close(whole, attend(module, *parts, None)[0])
    mask[..., 0] = False
    mask[0, 0, 0, 0] = True  # or it would see nothing
    theirs = scaled_dot_product_attention(*parts, attn_mask=mask)
    torch.testing.assert_close(attend(module, *parts, mask)[0].transpose(1, 2), theirs)


def test_a_window_that_holds_everything_is_none():
    module, parts = SimpleNamespace(num_key_value_groups=1, is_causal=True), states(3, 2, 2)
    seen = [attend(module, *parts, None, cases=[(3, None)], sliding_window=window)[0] for window in (3, None)]
    assert torch.equal(*seen)
