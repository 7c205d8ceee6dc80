"""Histories one after the other, without padding: what a GPU reads fastest.

PyTorch knows the two attentions as operations of its own, so that it can compile what lies between them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor, nn
from torch.library import custom_op
from torch.nn import functional

from lamar.errors import LamarError
from lamar.recformer import kernels
from lamar.recformer.attention import OfCls

ROWS = 64  # tokens in a block: with windows of 32 to each side a block of queries meets 128 keys
CHUNK = 128  # columns of the hidden states at once
SPLIT = 4  # programs that share a user's tokens: up to 256 tokens each has one block
MOST = 2**31 - 1  # elements: the kernels count them in 32 bits
LEAST = 16  # of each side of a matrix product in Triton


@dataclass(frozen=True)
class Packed:
    """Tensors are (tokens, ...); `window` in tokens to each side.

    lengths, starts: (users,) int32, in tokens; firsts, lasts: (tokens,) int32: where the CLS and the last token of a
    token's user lie.
    """

    lengths: Tensor
    starts: Tensor
    firsts: Tensor
    lasts: Tensor
    window: int

    @property
    def places(self) -> Tensor:
        """The place of every token in its history, (tokens,)."""
        return torch.arange(len(self.firsts), device=self.firsts.device, dtype=torch.int32) - self.firsts

    def first(self, tokens: Tensor) -> Tensor:
        """CLS of every user: (tokens, hidden) -> (users, hidden)."""
        return tokens[self.starts]

    def mean(self, tokens: Tensor) -> Tensor:
        """The mean over each user's own tokens: (tokens, hidden) -> (users, hidden)."""
        alike = tokens.new_zeros(len(self.starts), 1, tokens.shape[-1])  # equal scores, so equal weights
        return pool_of_cls(tokens, alike, self.starts, self.lengths, _no_seed(tokens), 0.0)[0][:, 0]

    def attend(self, tokens: Tensor, projections: list[nn.Linear], heads: int, rate: float, of_cls: OfCls) -> Tensor:
        """As of `Padded`, (tokens, hidden) -> the same shape; the three projections are one matrix product."""
        weight = torch.cat([projection.weight for projection in projections])
        bias = torch.cat([projection.bias for projection in projections])
        qkv = functional.linear(tokens, weight, bias).view(len(tokens), len(projections), heads, -1)
        cls, seed = of_cls().to(qkv.dtype), _seed(qkv, rate)
        return attend(qkv, cls, self.firsts, self.lasts, self.starts, self.lengths, seed, self.window, rate)[0]

    def pool(self, tokens: Tensor, folded: Tensor, rate: float) -> tuple[Tensor, Tensor]:
        """As of `Padded`, from tokens (tokens, hidden)."""
        tokens = tokens.to(folded.dtype)
        pooled, kept, *_ = pool_of_cls(tokens, folded, self.starts, self.lengths, _seed(tokens, rate), rate)
        return pooled, kept[..., None]


def _seed(near: Tensor, rate: float) -> Tensor:
    """Of one dropout, (1,) int32, drawn where the model is: nothing waits for it."""
    return torch.randint(2**31 - 1, (1,), dtype=torch.int32, device=near.device) if rate else _no_seed(near)


def _no_seed(near: Tensor) -> Tensor:
    return torch.zeros(1, dtype=torch.int32, device=near.device)


def _scale(size: int) -> float:
    """Of the products of queries and keys: their softmax is computed to the base 2."""
    return size**-0.5 / math.log(2)


def _window(heads: int, size: int, window: int, rate: float) -> dict[str, Any]:
    """What the kernels of the windows are compiled for."""
    return {
        "HEADS": heads,
        "SIZE": max(LEAST, triton.next_power_of_2(size)),
        "WINDOW": window,
        "ROWS": ROWS,
        "NEAR": triton.next_power_of_2(ROWS + 2 * window),
        "DROP": rate > 0,
    }


def _pool(heads: int) -> dict[str, Any]:
    """What the kernels of CLS are compiled for."""
    return {"HEADS": heads, "PADDED": max(LEAST, triton.next_power_of_2(heads)), "ROWS": ROWS, "CHUNK": CHUNK}


@custom_op("lamar::attend", mutates_args=())
def attend(
    qkv: Tensor, cls: Tensor, firsts: Tensor, lasts: Tensor, starts: Tensor, lengths: Tensor, seed: Tensor,
    window: int, rate: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Softmax attention of every token to its window and CLS; the rows of CLS are `cls`, (users, hidden).

    qkv: (tokens, 3, heads, size) -> (tokens, hidden), and the logarithms to the base 2 of the softmax's denominators,
    float32 (tokens, heads).
    """
    tokens, _, heads, size = qkv.shape
    if qkv.numel() > MOST:
        raise LamarError(f"a batch of {tokens} tokens is more than the GPU's kernels count: set micro_batch")
    pooled = qkv.new_empty(tokens, heads * size)
    log_totals = qkv.new_empty(tokens, heads, dtype=torch.float32)
    kernels.attend[triton.cdiv(tokens, ROWS), heads](
        qkv, firsts, lasts, seed, rate, _scale(size), pooled, log_totals, tokens, size,
        **_window(heads, size, window, rate),
    )  # fmt: skip
    pooled[starts] = cls
    return pooled, log_totals


@attend.register_fake
def _(qkv, cls, firsts, lasts, starts, lengths, seed, window, rate):  # noqa: ANN001, ANN202 (as above)
    tokens, _, heads, size = qkv.shape
    return qkv.new_empty(tokens, heads * size), qkv.new_empty(tokens, heads, dtype=torch.float32)


@custom_op("lamar::attend_gradient", mutates_args=())
def attend_gradient(
    given: Tensor, qkv: Tensor, pooled: Tensor, log_totals: Tensor, firsts: Tensor, lasts: Tensor, starts: Tensor,
    lengths: Tensor, seed: Tensor, window: int, rate: float,
) -> Tensor:  # fmt: skip
    """The gradient of qkv, from `given`, that of `pooled`."""
    tokens, _, heads, size = qkv.shape
    gradient = torch.empty_like(qkv)
    deltas, cls_given, cls_kept = log_totals.new_empty(3, tokens, heads)
    grid, compiled = (triton.cdiv(tokens, ROWS), heads), _window(heads, size, window, rate)
    common = (qkv, firsts, lasts, seed, rate, _scale(size))
    kernels.attend_query_gradient[grid](
        *common, pooled, log_totals, given, gradient, deltas, cls_given, cls_kept, tokens, size, **compiled
    )
    kernels.attend_key_gradient[grid](*common, log_totals, given, gradient, deltas, tokens, size, **compiled)
    sizes = {name: compiled[name] for name in ("HEADS", "SIZE", "ROWS")}
    kernels.attend_cls_gradient[len(starts), heads](
        qkv, starts, lengths, given, gradient, cls_given, cls_kept, size, **sizes
    )
    return gradient


@attend_gradient.register_fake
def _(given, qkv, pooled, log_totals, firsts, lasts, starts, lengths, seed, window, rate):  # noqa: ANN001, ANN202
    return torch.empty_like(qkv)


def _save_attend(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    qkv, _, firsts, lasts, starts, lengths, seed, ctx.window, ctx.rate = inputs
    ctx.save_for_backward(qkv, *output, firsts, lasts, starts, lengths, seed)


def _attend_backward(ctx: Any, given: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    starts = ctx.saved_tensors[5]
    gradient = attend_gradient(given.contiguous(), *ctx.saved_tensors, ctx.window, ctx.rate)
    return gradient, given[starts], None, None, None, None, None, None, None


attend.register_autograd(_attend_backward, setup_context=_save_attend)


@custom_op("lamar::pool_of_cls", mutates_args=())
def pool_of_cls(
    states: Tensor, folded: Tensor, starts: Tensor, lengths: Tensor, seed: Tensor, rate: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means of a user's states (tokens, hidden) by the softmax of their products with folded (users, heads, hidden).

    Returns the means, as `folded`, and what dropout left of the sum of weights, (users, heads); for the gradient the
    scores, (tokens, heads), and the logarithms of the softmax's denominators, (users, heads).
    """
    (tokens, width), (users, heads, _) = states.shape, folded.shape
    states, folded = states.contiguous(), folded.contiguous()
    scores = states.new_empty(tokens, heads, dtype=torch.float32)
    log_totals, kept = (scores.new_empty(users, heads) for _ in range(2))
    pooled = torch.empty_like(folded)
    compiled = _pool(heads)
    kernels.cls_scores[users, SPLIT](states, folded, starts, lengths, scores, width, **compiled, SPLIT=SPLIT)
    kernels.cls_pool[users, triton.cdiv(width, CHUNK)](
        states, scores, starts, lengths, seed, rate, pooled, log_totals, kept, width, **compiled, DROP=rate > 0
    )
    return pooled, kept, scores, log_totals


@pool_of_cls.register_fake
def _(states, folded, starts, lengths, seed, rate):  # noqa: ANN001, ANN202
    (tokens, _), (users, heads, _) = states.shape, folded.shape
    kept, log_totals = (states.new_empty(users, heads, dtype=torch.float32) for _ in range(2))
    scores = states.new_empty(tokens, heads, dtype=torch.float32)
    return torch.empty_like(folded, memory_format=torch.contiguous_format), kept, scores, log_totals


@custom_op("lamar::pool_gradient", mutates_args=())
def pool_gradient(
    given: Tensor, given_total: Tensor, deltas: Tensor, states: Tensor, folded: Tensor, scores: Tensor,
    log_totals: Tensor, starts: Tensor, lengths: Tensor, seed: Tensor, rate: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The gradients of states and folded, from those of the means and of the kept weights' sums.

    deltas: (users, heads), the products of both with what they are the gradient of.
    """
    states, folded = states.contiguous(), folded.contiguous()
    (_, width), (users, heads, _) = states.shape, folded.shape
    of_states = torch.zeros_like(states)  # tokens of no user keep the zero
    of_folded, of_scores = torch.empty_like(folded), torch.empty_like(scores)
    compiled = _pool(heads)
    kernels.cls_states_gradient[users, SPLIT](
        states, folded, scores, log_totals, starts, lengths, seed, rate, given, given_total, deltas, of_states,
        of_scores, width, **compiled, SPLIT=SPLIT, DROP=rate > 0,
    )  # fmt: skip
    kernels.cls_folded_gradient[users, triton.cdiv(width, CHUNK)](
        states, of_scores, starts, lengths, of_folded, width, **compiled
    )
    return of_states, of_folded


@pool_gradient.register_fake
def _(given, given_total, deltas, states, folded, scores, log_totals, starts, lengths, seed, rate):  # noqa: ANN001, ANN202
    contiguous = torch.contiguous_format
    return torch.empty_like(states, memory_format=contiguous), torch.empty_like(folded, memory_format=contiguous)


def _save_pool(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    states, folded, starts, lengths, seed, ctx.rate = inputs
    pooled, kept, scores, log_totals = output
    ctx.save_for_backward(states, folded, pooled, kept, scores, log_totals, starts, lengths, seed)


def _pool_backward(ctx: Any, given: Tensor, given_total: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    states, folded, pooled, kept, scores, log_totals, starts, lengths, seed = ctx.saved_tensors
    given = given.contiguous()
    deltas = (given.float() * pooled.float()).sum(-1) + given_total * kept
    of_states, of_folded = pool_gradient(
        given, given_total.contiguous(), deltas, states, folded, scores, log_totals, starts, lengths, seed, ctx.rate
    )
    return of_states, of_folded, None, None, None, None


pool_of_cls.register_autograd(_pool_backward, setup_context=_save_pool)
