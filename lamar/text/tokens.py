"""A catalogue as tokens: every item's key-value text, tokenised once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

CLS, KEY, VALUE, PAD = range(4)  # token types (Recformer, section 2.2; recformer-notes item 3)


@dataclass(frozen=True)
class Catalogue:
    """Tokens and token types of all items end to end; item i is `offsets[i]:offsets[i + 1]`.

    starts: whether a token begins a word.
    """

    tokens: np.ndarray
    types: np.ndarray
    starts: np.ndarray
    offsets: np.ndarray

    def __len__(self) -> int:
        """Number of items."""
        return len(self.offsets) - 1


def tokenise(items: pl.DataFrame, tokenizer: Tokenizer, attribute_tokens: int) -> Catalogue:
    """Tokenise the columns of `items` after the first as key and value, at most `attribute_tokens` for both together.

    An attribute without text is left out, key and all (the published code keeps the bare key).
    """
    keys = {name: _words(tokenizer.encode(name, add_special_tokens=False), KEY) for name in items.columns[1:]}
    columns = {
        name: [_words(text, VALUE) for text in tokenizer.encode_batch(items[name].to_list(), add_special_tokens=False)]
        for name in keys
    }
    pieces = [np.zeros((3, 0), np.int64)]
    offsets = [0]
    for row in range(items.height):
        values = {name: column[row] for name, column in columns.items() if column[row].size}
        whole = [np.hstack([keys[name], value])[:, :attribute_tokens] for name, value in values.items()]
        pieces += whole
        offsets.append(offsets[-1] + sum(attribute.shape[1] for attribute in whole))
    tokens, types, starts = np.hstack(pieces)
    return Catalogue(tokens, types, starts.astype(bool), np.array(offsets, np.int64))


def _words(text: Encoding, kind: int) -> np.ndarray:
    """(3, tokens): ids, token types, and 1 where a token begins a word."""
    words = text.word_ids
    starts = [place == 0 or words[place - 1] != word for place, word in enumerate(words)]
    return np.array([text.ids, [kind] * len(words), starts], np.int64)


def joined(catalogues: Sequence[Catalogue]) -> Catalogue:
    """Several catalogues as one; an item's number grows by the items of those before its own."""
    ends = [catalogue.offsets[1:] for catalogue in catalogues]
    before = np.cumsum([0, *(end[-1] for end in ends)])[:-1]
    return Catalogue(
        np.concatenate([catalogue.tokens for catalogue in catalogues]),
        np.concatenate([catalogue.types for catalogue in catalogues]),
        np.concatenate([catalogue.starts for catalogue in catalogues]),
        np.concatenate([[0], *(end + start for end, start in zip(ends, before, strict=True))]),
    )
