"""What a GPU computes of a Recformer's attention, in Triton: tokens lie packed, user after user, without padding.

Rows of `qkv` are tokens, (tokens, 3, heads, size); `firsts` and `lasts` have for every token where its user's CLS and
last token lie. Sums are float32 and taken in a fixed order: the same input gives the same bits. What is done for every
pair of tokens takes most of the time: no division there, and no comparison that bounds of a row can do.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _kept(seed, index, rate):
    """Whether dropout keeps an element: a hash of its index, the same in every kernel that asks."""
    mixed = (index.to(tl.uint32) * 0x9E3779B1) ^ seed.to(tl.uint32)
    mixed = (mixed ^ (mixed >> 16)) * 0x7FEB352D
    mixed = (mixed ^ (mixed >> 15)) * 0x846CA68B
    return mixed.to(tl.int32, bitcast=True) >= tl.cast(rate * 4294967296.0 - 2147483648.0, tl.int32)


@triton.jit
def _rows_of(table, rows, real, stride, sizes, size):
    """Rows of a table whose rows lie `stride` elements apart, (rows, sizes), zero where not `real`."""
    return tl.load(table + rows[:, None] * stride + sizes[None, :], real[:, None] & (sizes < size)[None, :], other=0.0)


@triton.jit
def _block(firsts, lasts, tokens, WINDOW: tl.constexpr, ROWS: tl.constexpr, NEAR: tl.constexpr):
    """A program's tokens and those near them.

    Returns the tokens and whether they are there, (rows,) each; those near and whether they are there, (near,); where
    the CLS of each row lies, and the first and the last token of its window. CLS is outside of every window and has
    none: the first is then behind the last.
    """
    start = tl.program_id(0) * ROWS
    rows, near = start + tl.arange(0, ROWS), start - WINDOW + tl.arange(0, NEAR)
    real = rows < tokens
    first = tl.load(firsts + rows, real, other=0)
    last = tl.load(lasts + rows, real, other=-1)
    begin = tl.maximum(first + 1, rows - WINDOW)
    end = tl.where(rows == first, -1, tl.minimum(last, rows + WINDOW))
    return rows, real, near, (near >= 0) & (near < tokens), first, begin, end


@triton.jit(do_not_specialize=["tokens"])
def attend(
    qkv, firsts, lasts, seed, rate, scale, pooled, log_totals, tokens, size,
    HEADS: tl.constexpr, SIZE: tl.constexpr, WINDOW: tl.constexpr, ROWS: tl.constexpr, NEAR: tl.constexpr,
    DROP: tl.constexpr,
):  # fmt: skip
    """A block of tokens and a head: the mean of the values of their windows and CLS -> pooled, log_totals.

    scale: of the scores, which are logarithms to the base 2, as are log_totals: a GPU has no other exponential.
    """
    head = tl.program_id(1)
    width = HEADS * size
    sizes = tl.arange(0, SIZE)
    rows, real, near, near_real, first, begin, end = _block(firsts, lasts, tokens, WINDOW, ROWS, NEAR)
    base = qkv + head * size
    query = _rows_of(base, rows, real, 3 * width, sizes, size)
    key = _rows_of(base + width, near, near_real, 3 * width, sizes, size)
    cls_key = _rows_of(base + width, first, real, 3 * width, sizes, size)
    value = _rows_of(base + 2 * width, near, near_real, 3 * width, sizes, size)
    cls_value = _rows_of(base + 2 * width, first, real, 3 * width, sizes, size)
    seen = (near[None, :] >= begin[:, None]) & (near[None, :] <= end[:, None])
    scores = tl.where(seen, tl.dot(query, tl.trans(key), input_precision="ieee"), float("-inf"))
    cls_scores = tl.sum(query.to(tl.float32) * cls_key.to(tl.float32), 1)
    top = tl.maximum(tl.max(scores, 1), cls_scores) * scale
    weights = tl.exp2(scores * scale - top[:, None])
    cls_weights = tl.exp2(cls_scores * scale - top)
    totals = tl.sum(weights, 1) + cls_weights
    tl.store(log_totals + rows * HEADS + head, top + tl.log2(totals), real)
    if DROP:
        number, chance = (rows * HEADS + head) * (2 * WINDOW + 2), tl.load(seed)
        weights = tl.where(_kept(chance, (number - rows + WINDOW)[:, None] + near[None, :], rate), weights, 0.0)
        cls_weights = tl.where(_kept(chance, number + 2 * WINDOW + 1, rate), cls_weights, 0.0)
        totals *= 1 - rate
    mean = tl.dot(weights.to(value.dtype), value, input_precision="ieee") + cls_weights[:, None] * cls_value
    mean = mean * (1 / totals)[:, None]
    into = pooled + rows[:, None] * width + head * size + sizes[None, :]
    tl.store(into, mean.to(value.dtype), real[:, None] & (sizes < size)[None, :])


@triton.jit(do_not_specialize=["tokens"])
def attend_query_gradient(
    qkv, firsts, lasts, seed, rate, scale, pooled, log_totals, given, gradient, deltas, cls_given, cls_kept, tokens,
    size,
    HEADS: tl.constexpr, SIZE: tl.constexpr, WINDOW: tl.constexpr, ROWS: tl.constexpr, NEAR: tl.constexpr,
    DROP: tl.constexpr,
):  # fmt: skip
    """The gradient of a block's queries, from `given`, that of `pooled`.

    Written for the other kernels, (tokens, heads) each: deltas, given . pooled; cls_given, the gradient of the product
    with the key of CLS; cls_kept, the weight of CLS.
    """
    head = tl.program_id(1)
    width = HEADS * size
    sizes = tl.arange(0, SIZE)
    rows, real, near, near_real, first, begin, end = _block(firsts, lasts, tokens, WINDOW, ROWS, NEAR)
    base = qkv + head * size
    query = _rows_of(base, rows, real, 3 * width, sizes, size)
    key = _rows_of(base + width, near, near_real, 3 * width, sizes, size)
    value = _rows_of(base + 2 * width, near, near_real, 3 * width, sizes, size)
    cls_key = _rows_of(base + width, first, real, 3 * width, sizes, size).to(tl.float32)
    cls_value = _rows_of(base + 2 * width, first, real, 3 * width, sizes, size).to(tl.float32)
    slope = _rows_of(given + head * size, rows, real, width, sizes, size)
    mean = _rows_of(pooled + head * size, rows, real, width, sizes, size)
    log_total = tl.load(log_totals + rows * HEADS + head, real, other=0.0)
    scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scale - log_total[:, None]
    seen = (near[None, :] >= begin[:, None]) & (near[None, :] <= end[:, None])
    weights = tl.exp2(tl.where(seen, scores, float("-inf")))
    cls_scores = tl.sum(query.to(tl.float32) * cls_key, 1) * scale - log_total
    cls_weights = tl.where(real & (first != rows), tl.exp2(cls_scores), 0.0)
    of_weights = tl.dot(slope, tl.trans(value), input_precision="ieee")
    of_cls = tl.sum(slope.to(tl.float32) * cls_value, 1)
    kept_cls = cls_weights
    if DROP:
        number, chance = (rows * HEADS + head) * (2 * WINDOW + 2), tl.load(seed)
        kept = _kept(chance, (number - rows + WINDOW)[:, None] + near[None, :], rate)
        of_weights = tl.where(kept, of_weights * (1 / (1 - rate)), 0.0)
        keeps = _kept(chance, number + 2 * WINDOW + 1, rate)
        of_cls = tl.where(keeps, of_cls / (1 - rate), 0.0)
        kept_cls = tl.where(keeps, cls_weights / (1 - rate), 0.0)
    delta = tl.sum(slope.to(tl.float32) * mean.to(tl.float32), 1)
    of_scores = weights * (of_weights - delta[:, None])
    natural = scale * 0.6931471805599453  # of a product with a key: the gradient of the natural logarithm
    of_cls_score = cls_weights * (of_cls - delta) * natural
    result = tl.dot(of_scores.to(key.dtype), key, input_precision="ieee") * natural + of_cls_score[:, None] * cls_key
    into = gradient + rows[:, None] * 3 * width + head * size + sizes[None, :]
    tl.store(into, result.to(key.dtype), real[:, None] & (sizes < size)[None, :])
    tl.store(deltas + rows * HEADS + head, delta, real)
    tl.store(cls_given + rows * HEADS + head, of_cls_score, real)
    tl.store(cls_kept + rows * HEADS + head, kept_cls, real)


@triton.jit(do_not_specialize=["tokens"])
def attend_key_gradient(
    qkv, firsts, lasts, seed, rate, scale, log_totals, given, gradient, deltas, tokens, size,
    HEADS: tl.constexpr, SIZE: tl.constexpr, WINDOW: tl.constexpr, ROWS: tl.constexpr, NEAR: tl.constexpr,
    DROP: tl.constexpr,
):  # fmt: skip
    """The gradients of a block's keys and values, from the tokens in whose windows they are; zero for CLS.

    These are the tokens in their own windows.
    """
    head = tl.program_id(1)
    width = HEADS * size
    sizes = tl.arange(0, SIZE)
    rows, real, near, near_real, _, begin, end = _block(firsts, lasts, tokens, WINDOW, ROWS, NEAR)
    base = qkv + head * size
    key = _rows_of(base + width, rows, real, 3 * width, sizes, size)
    value = _rows_of(base + 2 * width, rows, real, 3 * width, sizes, size)
    query = _rows_of(base, near, near_real, 3 * width, sizes, size)
    slope = _rows_of(given + head * size, near, near_real, width, sizes, size)
    log_total = tl.load(log_totals + near * HEADS + head, near_real, other=0.0)
    delta = tl.load(deltas + near * HEADS + head, near_real, other=0.0)
    scores = tl.dot(key, tl.trans(query), input_precision="ieee") * scale - log_total[None, :]
    seen = (near[None, :] >= begin[:, None]) & (near[None, :] <= end[:, None])
    weights = tl.exp2(tl.where(seen, scores, float("-inf")))
    of_weights = tl.dot(value, tl.trans(slope), input_precision="ieee")
    kept_weights = weights
    if DROP:
        number = (near * HEADS + head) * (2 * WINDOW + 2) - near + WINDOW
        kept = _kept(tl.load(seed), number[None, :] + rows[:, None], rate)
        of_weights = tl.where(kept, of_weights * (1 / (1 - rate)), 0.0)
        kept_weights = tl.where(kept, weights, 0.0)
    of_value = tl.dot(kept_weights.to(slope.dtype), slope, input_precision="ieee")
    if DROP:
        of_value = of_value * (1 / (1 - rate))
    of_scores = weights * (of_weights - delta[None, :])
    natural = scale * 0.6931471805599453
    of_key = tl.dot(of_scores.to(query.dtype), query, input_precision="ieee") * natural
    into = gradient + width + rows[:, None] * 3 * width + head * size + sizes[None, :]
    there = real[:, None] & (sizes < size)[None, :]
    tl.store(into, of_key.to(key.dtype), there)
    tl.store(into + width, of_value.to(key.dtype), there)


@triton.jit
def attend_cls_gradient(
    qkv, starts, lengths, given, gradient, cls_given, cls_kept, size,
    HEADS: tl.constexpr, SIZE: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """The gradients of the key and the value of a user's CLS, which all of the user's tokens see."""
    user, head = tl.program_id(0), tl.program_id(1)
    width = HEADS * size
    sizes = tl.arange(0, SIZE)
    start, length = tl.load(starts + user), tl.load(lengths + user)
    of_key = tl.zeros((SIZE,), tl.float32)
    of_value = tl.zeros((SIZE,), tl.float32)
    for block in range(0, length, ROWS):
        within = block + tl.arange(0, ROWS)
        rows, real = start + within, within < length
        query = _rows_of(qkv + head * size, rows, real, 3 * width, sizes, size).to(tl.float32)
        slope = _rows_of(given + head * size, rows, real, width, sizes, size).to(tl.float32)
        of_score = tl.load(cls_given + rows * HEADS + head, real, other=0.0)
        weight = tl.load(cls_kept + rows * HEADS + head, real, other=0.0)
        of_key += tl.sum(of_score[:, None] * query, 0)
        of_value += tl.sum(weight[:, None] * slope, 0)
    into = gradient + start * 3 * width + width + head * size + sizes
    tl.store(into, of_key.to(gradient.dtype.element_ty), sizes < size)
    tl.store(into + width, of_value.to(gradient.dtype.element_ty), sizes < size)


@triton.jit
def _dots(states, rows, real, vectors, heads, heads_real, width, CHUNK: tl.constexpr):
    """The products of rows of states with a user's vectors, one a head: (rows, heads)."""
    total = tl.zeros((rows.shape[0], heads.shape[0]), tl.float32)
    for chunk in range(0, width, CHUNK):
        columns = chunk + tl.arange(0, CHUNK)
        left = _rows_of(states, rows, real, width, columns, width)
        right = _rows_of(vectors, heads, heads_real, width, columns, width)
        total += tl.dot(left, tl.trans(right), input_precision="ieee")
    return total


@triton.jit
def cls_scores(
    states, folded, starts, lengths, scores, width,
    HEADS: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """Scores of a user's tokens for its CLS, (tokens, heads): every SPLIT-th block of the user's tokens."""
    user = tl.program_id(0)
    start, length = tl.load(starts + user), tl.load(lengths + user)
    heads = tl.arange(0, PADDED)
    for block in range(tl.program_id(1) * ROWS, length, SPLIT * ROWS):
        within = block + tl.arange(0, ROWS)
        rows, real = start + within, within < length
        found = _dots(states, rows, real, folded + user * HEADS * width, heads, heads < HEADS, width, CHUNK)
        tl.store(scores + rows[:, None] * HEADS + heads[None, :], found, real[:, None] & (heads < HEADS)[None, :])


@triton.jit
def cls_pool(
    states, scores, starts, lengths, seed, rate, pooled, log_totals, kept_totals, width,
    HEADS: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr, DROP: tl.constexpr,
):  # fmt: skip
    """The mean of a user's states by the softmax of its scores: a chunk of columns, (heads, chunk).

    Beside it (users, heads) each: the logarithm of the softmax's denominator, and what dropout left of the weights.
    """
    user, chunk = tl.program_id(0), tl.program_id(1)
    start, length = tl.load(starts + user), tl.load(lengths + user)
    heads, columns = tl.arange(0, PADDED), chunk * CHUNK + tl.arange(0, CHUNK)
    top = tl.full((PADDED,), float("-inf"), tl.float32)
    total = tl.zeros((PADDED,), tl.float32)
    for block in range(0, length, ROWS):
        within = block + tl.arange(0, ROWS)
        rows, real = start + within, within < length
        there = real[:, None] & (heads < HEADS)[None, :]
        found = tl.load(scores + rows[:, None] * HEADS + heads[None, :], there, other=float("-inf"))
        found = tl.where((heads < HEADS)[None, :], found, 0.0)  # heads that pad the block
        higher = tl.maximum(top, tl.max(found, 0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(found - higher[None, :]), 0)
        top = higher
    log_total = top + tl.log(total)
    kept_total = tl.zeros((PADDED,), tl.float32)
    mean = tl.zeros((PADDED, CHUNK), tl.float32)
    for block in range(0, length, ROWS):
        within = block + tl.arange(0, ROWS)
        rows, real = start + within, within < length
        there = real[:, None] & (heads < HEADS)[None, :]
        number = rows[:, None] * HEADS + heads[None, :]
        weights = tl.exp(tl.load(scores + number, there, other=float("-inf")) - log_total[None, :])
        if DROP:
            weights = tl.where(_kept(tl.load(seed), number, rate), weights, 0.0) / (1 - rate)
        kept_total += tl.sum(weights, 0)
        block_states = _rows_of(states, rows, real, width, columns, width)
        mean += tl.dot(tl.trans(weights).to(block_states.dtype), block_states, input_precision="ieee")
    into = pooled + user * HEADS * width + heads[:, None] * width + columns[None, :]
    tl.store(into, mean.to(pooled.dtype.element_ty), (heads < HEADS)[:, None] & (columns < width)[None, :])
    if chunk == 0:
        tl.store(log_totals + user * HEADS + heads, log_total, heads < HEADS)
        tl.store(kept_totals + user * HEADS + heads, kept_total, heads < HEADS)


@triton.jit
def cls_states_gradient(
    states, folded, scores, log_totals, starts, lengths, seed, rate, given, given_total, deltas, gradient, of_scores,
    width,
    HEADS: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr, SPLIT: tl.constexpr,
    DROP: tl.constexpr,
):  # fmt: skip
    """The gradient of a user's states, and of their scores, (tokens, heads).

    given: of `pooled`, (users, heads, width); given_total: of `kept_totals`, and deltas: of both with what they are the
    gradient of, summed, (users, heads) each.
    """
    user = tl.program_id(0)
    start, length = tl.load(starts + user), tl.load(lengths + user)
    heads = tl.arange(0, PADDED)
    head_real = heads < HEADS
    mine = user * HEADS * width
    log_total = tl.load(log_totals + user * HEADS + heads, head_real, other=0.0)
    of_total = tl.load(given_total + user * HEADS + heads, head_real, other=0.0)
    delta = tl.load(deltas + user * HEADS + heads, head_real, other=0.0)
    for block in range(tl.program_id(1) * ROWS, length, SPLIT * ROWS):
        within = block + tl.arange(0, ROWS)
        rows, real = start + within, within < length
        there = real[:, None] & head_real[None, :]
        number = rows[:, None] * HEADS + heads[None, :]
        weights = tl.exp(tl.load(scores + number, there, other=float("-inf")) - log_total[None, :])
        of_weights = _dots(states, rows, real, given + mine, heads, head_real, width, CHUNK) + of_total[None, :]
        kept_weights = weights
        if DROP:
            kept = _kept(tl.load(seed), number, rate)
            of_weights = tl.where(kept, of_weights, 0.0) / (1 - rate)
            kept_weights = tl.where(kept, weights, 0.0) / (1 - rate)
        of_score = weights * (of_weights - delta[None, :])
        tl.store(of_scores + number, of_score, there)
        for chunk in range(0, width, CHUNK):
            columns = chunk + tl.arange(0, CHUNK)
            slope = _rows_of(given + mine, heads, head_real, width, columns, width)
            folds = _rows_of(folded + mine, heads, head_real, width, columns, width)
            result = tl.dot(kept_weights.to(slope.dtype), slope, input_precision="ieee")
            result += tl.dot(of_score.to(folds.dtype), folds, input_precision="ieee")
            into = gradient + rows[:, None] * width + columns[None, :]
            tl.store(into, result.to(gradient.dtype.element_ty), real[:, None] & (columns < width)[None, :])


@triton.jit
def cls_folded_gradient(
    states, of_scores, starts, lengths, gradient, width,
    HEADS: tl.constexpr, PADDED: tl.constexpr, ROWS: tl.constexpr, CHUNK: tl.constexpr,
):  # fmt: skip
    """The gradient of a user's folded queries: a chunk of columns, (heads, chunk)."""
    user, chunk = tl.program_id(0), tl.program_id(1)
    start, length = tl.load(starts + user), tl.load(lengths + user)
    heads, columns = tl.arange(0, PADDED), chunk * CHUNK + tl.arange(0, CHUNK)
    total = tl.zeros((PADDED, CHUNK), tl.float32)
    for block in range(0, length, ROWS):
        within = block + tl.arange(0, ROWS)
        rows, real = start + within, within < length
        there = real[:, None] & (heads < HEADS)[None, :]
        of_score = tl.load(of_scores + rows[:, None] * HEADS + heads[None, :], there, other=0.0)
        block_states = _rows_of(states, rows, real, width, columns, width)
        total += tl.dot(tl.trans(of_score).to(block_states.dtype), block_states, input_precision="ieee")
    into = gradient + user * HEADS * width + heads[:, None] * width + columns[None, :]
    tl.store(into, total.to(gradient.dtype.element_ty), (heads < HEADS)[:, None] & (columns < width)[None, :])
