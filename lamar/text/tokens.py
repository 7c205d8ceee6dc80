"""A catalogue as tokens: every item's key-value text, tokenised once, and batches of histories made from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CLS, KEY, VALUE, PAD = range(4)  # token types (Recformer, section 2.2; recformer-notes item 3)


@dataclass(frozen=True)
class Catalogue:
    """Tokens and token types of all items end to end; item i is `offsets[i]:offsets[i + 1]`."""

    tokens: np.ndarray
    types: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        """Number of items."""
        return len(self.offsets) - 1


@dataclass(frozen=True)
class TextBatch:
    """Histories as padded arrays (users, tokens): ids, token types, item positions; `lengths` (users,) in tokens.

    Item positions: 0 is CLS, 1 the most recent item, and so on.
    """

    ids: np.ndarray
    types: np.ndarray
    items: np.ndarray
    lengths: np.ndarray


def tokenise(items: pl.DataFrame, tokenizer: Tokenizer, attribute_tokens: int) -> Catalogue:
    """Tokenise the columns of `items` after the first as key and value, at most `attribute_tokens` for both together.

    An attribute without text is left out, key and all (the published code keeps the bare key).
    """
    keys = {name: tokenizer.encode(name, add_special_tokens=False).ids for name in items.columns[1:]}
    columns = {
        name: [encoding.ids for encoding in tokenizer.encode_batch(items[name].to_list(), add_special_tokens=False)]
        for name in keys
    }
    tokens: list[int] = []
    types: list[int] = []
    offsets = [0]
    for row in range(items.height):
        for name, key in keys.items():
            if value := columns[name][row]:
                attribute = (key + value)[:attribute_tokens]
                tokens += attribute
                types += ([KEY] * len(key) + [VALUE] * len(value))[:attribute_tokens]
        offsets.append(len(tokens))
    return Catalogue(np.array(tokens, np.int64), np.array(types, np.int64), np.array(offsets, np.int64))


def batch_of(
    histories: Sequence[Sequence[int]], catalogue: Catalogue, cls: int, max_items: int, max_tokens: int
) -> TextBatch:
    """Flatten histories (items, oldest first) to text, most recent item first, after a CLS token.

    At most `max_items` items and `max_tokens` tokens including CLS: the oldest item is cut in its middle
    (recformer-notes items 1 and 2).
    """
    rows = [_flatten(history, catalogue, cls, max_items, max_tokens) for history in histories]
    lengths = np.array([row.shape[1] for row in rows])
    padded = np.zeros((3, len(rows), lengths.max()), np.int64)
    padded[1] = PAD
    for index, row in enumerate(rows):
        padded[:, index, : row.shape[1]] = row
    return TextBatch(padded[0], padded[1], padded[2], lengths)


def _flatten(history: Sequence[int], catalogue: Catalogue, cls: int, max_items: int, max_tokens: int) -> np.ndarray:
    """(3, tokens): ids, types and item positions of one history."""
    pieces = [np.array([[cls], [CLS], [0]])]
    used = 1
    for position, item in enumerate(reversed(history[-max_items:] if len(history) else []), start=1):
        start, end = catalogue.offsets[item], catalogue.offsets[item + 1]
        end = min(end, start + max_tokens - used)
        places = np.full(end - start, position)
        pieces.append(np.stack([catalogue.tokens[start:end], catalogue.types[start:end], places]))
        used += end - start
        if used >= max_tokens:
            break
    return np.concatenate(pieces, axis=1)
