"""Attention in a row of cases, each case by itself: a row costs what its cases cost alone.

With one mask over the whole row, attention would cost the square of the row's length, and most of it for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lamar.errors import LamarError

Seen = tuple[int, Tensor | None]
"""Of a case: its tokens, and which of them its last ones see, bool (last ones, tokens): all that are before the last
ones, and some of these. Those before, and with None all, see themselves and what is before them."""

BY_CASE = "by_case"
BLOCK = 256  # queries of a block on a CPU: enough to fill its cores, and most keys that none of them sees are left out


def by_case() -> str:
    """The name by which transformers finds `attend`."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    AttentionInterface.register(BY_CASE, attend)
    AttentionMaskInterface.register(BY_CASE, sdpa_mask)  # where there are no cases: when an answer is written
    return BY_CASE


def attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    cases: Sequence[Seen] | None = None, **options: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention in each case: (1, tokens, heads, width) of states (1, heads, tokens, width).

    Of cases, and on a CPU of one long question, which is read before its answer is written. On a GPU, and for all else,
    transformers' `sdpa`. Raises LamarError for a model whose attention has what this one lacks.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    if cases is None:
        if query.is_cuda or query.shape[2] <= BLOCK or not _sees_all_before(query, attention_mask):
            return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        _refuse(options, key.shape[2])
        return in_blocks(query, key, value, None, scaling), None

    _refuse(options, max(tokens if seen is None else int(seen.sum(1).max()) for tokens, seen in cases))

    def fused(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
        mask = None if seen is None else seen[None, None]
        return sdpa_attention_forward(module, query, key, value, mask, **options)[0]

    def written_out(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None) -> Tensor:
        each_other = None if seen is None else seen[:, -len(seen) :]
        return in_blocks(query, key, value, each_other, scaling)

    attention = fused if query.is_cuda else written_out
    parts = zip(*(states.split([tokens for tokens, _ in cases], dim=2) for states in (query, key, value)), strict=True)
    done = [_attend_case(attention, *part, seen) for part, (_, seen) in zip(parts, cases, strict=True)]
    return torch.cat(done, dim=1), None


def _sees_all_before(query: Tensor, mask: Tensor | None) -> bool:
    """Whether it is one row without padding: then its last token sees all others; mask: bool (1, 1, tokens, all)."""
    return len(query) == 1 and (mask is None or (mask.dtype == torch.bool and bool(mask[0, 0, -1].all())))


def _refuse(options: Mapping[str, Any], tokens: int) -> None:
    """Rather than leave out what an LLM was trained with. tokens: what a token sees at most."""
    if options.get("dropout") or options.get("softcap"):
        raise LamarError("the LLM's attention has dropout or caps, which ranking pools lacks; take another LLM")
    if options.get("s_aux") is not None or options.get("position_bias") is not None:
        raise LamarError("the LLM's attention has sinks or biases, which ranking pools lacks; take another LLM")
    window = options.get("sliding_window")
    if window and window < tokens:
        raise LamarError(
            f"the LLM looks back {window:,} tokens, of {tokens:,} to be read; take another, or smaller pools"
        )


def _attend_case(
    attention: Callable[..., Tensor], query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None
) -> Tensor:
    """What comes before the answers needs no mask, which would cost twice the time of causal attention."""
    if seen is None:
        return attention(query, key, value, None)
    first = query.shape[2] - len(seen)
    before = attention(*(states[:, :, :first] for states in (query, key, value)), None)
    return torch.cat([before, attention(query[:, :, first:], key, value, seen)], dim=1)


def in_blocks(query: Tensor, key: Tensor, value: Tensor, seen: Tensor | None, scaling: float) -> Tensor:
    """Attention as matrix products, a block of queries at a time: (1, tokens, heads, width).

    query: (1, heads, tokens, width); key, value: (1, key heads, all tokens, width), each for as many heads in a row;
    seen: bool (tokens, last keys), what they see of the last keys, besides all others, at least one each; None: the
    tokens are the last of all, and each sees itself and those before. On a CPU PyTorch's fused kernel takes two to
    three times as long, forward and backward. Scores have the precision of the states, as in transformers' `eager`.
    """
    scaled = query * scaling
    before = key.shape[2] - query.shape[2]
    blocks = []
    for start in range(0, query.shape[2], BLOCK):
        part = scaled[:, :, start : start + BLOCK]
        if seen is None:
            unseen = _future(part)
            shown = [states[0, :, : before + start + part.shape[2]] for states in (key, value)]
        else:
            own = seen[start : start + BLOCK]
            span = _span(own)
            unseen = ~own[:, span]
            shown = [_all_but(states[0], own.shape[1], span) for states in (key, value)]
        blocks.append(_block(part, *shown, unseen))
    return torch.cat(blocks, dim=2).transpose(1, 2)


def _span(seen: Tensor) -> slice:
    """From the first to the last of the keys that one of the queries sees; seen: bool (queries, keys), each has one."""
    some = seen.any(0).nonzero()
    return slice(int(some[0]), int(some[-1]) + 1)


def _all_but(states: Tensor, last: int, span: slice) -> Tensor:
    """Of states (heads, tokens, width) all but the last, and of these the ones in `span`."""
    first = states.shape[1] - last
    return torch.cat([states[:, :first], states[:, first:][:, span]], dim=1)


def _block(query: Tensor, key: Tensor, value: Tensor, unseen: Tensor) -> Tensor:
    """Of queries (1, heads, tokens, width); unseen: bool (tokens, last keys), what they do not see of the last keys."""
    _, heads, tokens, width = query.shape
    scores = query.reshape(len(key), -1, width) @ key.transpose(1, 2)  # heads that share their keys side by side
    scores.view(heads, tokens, -1)[..., -unseen.shape[1] :].masked_fill_(unseen, float("-inf"))
    return (scores.softmax(-1) @ value).view(1, heads, tokens, -1)


def _future(query: Tensor) -> Tensor:
    """What tokens (1, heads, tokens, width) do not see of each other: those after them, bool (tokens, tokens)."""
    tokens = query.shape[2]
    return torch.ones(tokens, tokens, dtype=torch.bool, device=query.device).triu(diagonal=1)
