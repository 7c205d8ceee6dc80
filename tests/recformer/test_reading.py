"""Histories as tokens, by hand: an item's tokens are listed, title (key, values) and brand."""

import numpy as np
import pytest
import torch

from lamar.recformer.reading import TextBatch, TokenTable, filled
from lamar.text.tokens import CLS, KEY, PAD, VALUE, Catalogue

START, TITLE, BRAND = 1, 2, 3
ITEMS = [[TITLE, 10, 11, BRAND, 12], [TITLE, 13], [TITLE, 14, 15, 16, 17, 18, BRAND, 19], []]
TYPES = {TITLE: KEY, BRAND: KEY}


def catalogue() -> Catalogue:
    """Every second token continues the word before it."""
    tokens = np.array([token for item in ITEMS for token in item])
    types = np.array([TYPES.get(token, VALUE) for token in tokens])
    return Catalogue(tokens, types, tokens % 2 == 0, np.cumsum([0, *(len(item) for item in ITEMS)]))


def read(histories: list[list[int]], max_items: int = 50, max_tokens: int = 100) -> TextBatch:
    table = TokenTable(catalogue(), cls=START, max_items=max_items, max_tokens=max_tokens, window=32)
    rows = [np.array(history, np.int64) for history in histories]
    batch = table.read(rows)
    assert table.lengths(rows).tolist() == batch.layout.lengths.tolist()
    return batch


def test_a_history_is_read_most_recent_item_first():
    batch = read([[0, 1]])
    assert batch.ids.tolist() == [[START, *ITEMS[1], *ITEMS[0]]]
    assert batch.types.tolist() == [[CLS, KEY, VALUE, KEY, VALUE, VALUE, KEY, VALUE]]
    assert batch.items.tolist() == [[0, 1, 1, 2, 2, 2, 2, 2]]
    assert batch.starts.tolist() == [[False, True, False, True, True, False, False, True]]
    assert batch.layout.lengths.tolist() == [8]


def test_the_oldest_item_is_cut_in_its_middle():
    batch = read([[2, 0, 1]], max_tokens=6)
    assert batch.ids.tolist() == [[START, *ITEMS[1], *ITEMS[0][:3]]]
    assert batch.items.tolist() == [[0, 1, 1, 2, 2, 2]]


@pytest.mark.parametrize("max_tokens", range(1, 16))
def test_a_cut_history_is_the_beginning_of_the_whole(max_tokens):
    whole, cut = read([[2, 0, 1]]), read([[2, 0, 1]], max_tokens=max_tokens)
    assert cut.layout.lengths.tolist() == [max_tokens]
    for name in ("ids", "types", "items", "starts"):
        assert getattr(cut, name).tolist() == getattr(whole, name)[:, :max_tokens].tolist()


def test_only_the_most_recent_items_are_read():
    batch = read([[0, 0, 2, 1, 1]], max_items=2)
    assert batch.ids.tolist() == [[START, *ITEMS[1], *ITEMS[1]]]
    assert batch.items.tolist() == [[0, 1, 1, 2, 2]]


def test_rows_are_padded_at_the_end():
    batch = read([[], [1], [3]])
    assert batch.ids.tolist() == [[START, 0, 0], [START, *ITEMS[1]], [START, 0, 0]]
    assert batch.types.tolist() == [[CLS, PAD, PAD], [CLS, KEY, VALUE], [CLS, PAD, PAD]]
    assert batch.items.tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert batch.layout.lengths.tolist() == [1, 3, 1]


def test_an_item_without_text_keeps_its_place():
    assert read([[1, 3]]).items.tolist() == [[0, 2, 2]]


def test_histories_without_any_text():
    batch = read([[3], [], [3, 3]])
    assert batch.ids.tolist() == [[START]] * 3
    assert batch.layout.lengths.tolist() == [1, 1, 1]


def plainly(history: list[int], max_items: int, max_tokens: int) -> tuple[list[int], list[int]]:
    """Ids and item positions, one token after the other."""
    ids, positions = [START], [0]
    for position, item in enumerate(reversed(history[-max_items:]), start=1):
        ids += ITEMS[item]
        positions += [position] * len(ITEMS[item])
    return ids[:max_tokens], positions[:max_tokens]


@pytest.mark.parametrize(("max_items", "max_tokens"), [(50, 100), (3, 100), (50, 7), (4, 12), (1, 1)])
def test_many_histories_are_read_as_one_by_one(max_items, max_tokens):
    rng = np.random.default_rng(0)
    histories = [rng.integers(len(ITEMS), size=size).tolist() for size in rng.integers(9, size=200)]
    batch = read(histories, max_items, max_tokens)
    for row, history in enumerate(histories):
        ids, positions = plainly(history, max_items, max_tokens)
        assert batch.layout.lengths[row] == len(ids)
        assert batch.ids[row, : len(ids)].tolist() == ids
        assert batch.items[row, : len(ids)].tolist() == positions
        assert not batch.ids[row, len(ids) :].any()


def test_the_tables_are_not_saved_but_go_where_the_model_goes():
    table = TokenTable(catalogue(), cls=START, max_items=50, max_tokens=100, window=32)
    assert not table.state_dict()
    assert {buffer.device for buffer in table.to("meta").buffers()} == {torch.device("meta")}


def test_filled_sizes_are_few_and_near():
    sizes = [filled(tokens) for tokens in range(1, 5000)]
    assert all(tokens <= size <= 1.0625 * tokens for tokens, size in enumerate(sizes, start=1))
    assert len({size for size in sizes if 1024 < size <= 2048}) == 16
