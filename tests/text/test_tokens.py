"""Item text as tokens, by hand: every word is one token, numbered by VOCABULARY."""

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel, WordPiece
from tokenizers.pre_tokenizers import Whitespace

from lamar.text.tokens import CLS, KEY, PAD, VALUE, batch_of, joined, tokenise

VOCABULARY = {word: number for number, word in enumerate(["?", "[CLS]", "title", "brand", *"abcdefghij"])}
START = VOCABULARY["[CLS]"]


def spelled(text: str) -> list[int]:
    return [VOCABULARY[word] for word in text.split()]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    words = Tokenizer(WordLevel(VOCABULARY, unk_token="?"))
    words.pre_tokenizer = Whitespace()
    return words


ITEMS = pl.DataFrame(
    {"item": [0, 1, 2, 3], "title": ["a b", "c", "d e f g h", ""], "brand": ["i", "", "j", ""]},
)


def item(catalogue, number) -> tuple[list[int], list[int]]:
    start, end = catalogue.offsets[number : number + 2]
    return catalogue.tokens[start:end].tolist(), catalogue.types[start:end].tolist()


def test_an_item_is_its_keys_and_values(tokenizer):
    catalogue = tokenise(ITEMS, tokenizer, attribute_tokens=32)
    assert len(catalogue) == 4
    assert item(catalogue, 0) == (spelled("title a b brand i"), [KEY, VALUE, VALUE, KEY, VALUE])


def test_an_empty_attribute_is_left_out_with_its_key(tokenizer):
    catalogue = tokenise(ITEMS, tokenizer, attribute_tokens=32)
    assert item(catalogue, 1) == (spelled("title c"), [KEY, VALUE])
    assert item(catalogue, 3) == ([], [])


def test_an_attribute_is_cut_with_its_key_counted(tokenizer):
    catalogue = tokenise(ITEMS, tokenizer, attribute_tokens=3)
    assert item(catalogue, 2) == (spelled("title d e brand j"), [KEY, VALUE, VALUE, KEY, VALUE])
    assert item(tokenise(ITEMS, tokenizer, attribute_tokens=1), 0) == (spelled("title brand"), [KEY, KEY])


def test_the_tokenizer_adds_nothing_of_its_own(tokenizer):
    from tokenizers.processors import TemplateProcessing

    wrapping = Tokenizer.from_str(tokenizer.to_str())
    wrapping.post_processor = TemplateProcessing(single="[CLS] $A [CLS]", special_tokens=[("[CLS]", START)])
    assert np.array_equal(tokenise(ITEMS, wrapping, 32).tokens, tokenise(ITEMS, tokenizer, 32).tokens)


def pieces() -> Tokenizer:
    """A tokenizer that cuts words into letters."""
    letters = {letter: number for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz?")}
    words = Tokenizer(WordPiece(letters | {f"##{letter}": 30 + place for letter, place in letters.items()}))
    words.pre_tokenizer = Whitespace()
    return words


def test_it_is_known_where_words_begin():
    items = pl.DataFrame({"item": [0, 1], "title": ["ab c", "de"]})
    catalogue = tokenise(items, pieces(), attribute_tokens=32)
    title = [True, False, False, False, False]
    assert catalogue.starts.tolist() == [*title, True, False, True, *title, True, False]
    batch = batch_of([[0, 1]], catalogue, START, max_items=50, max_tokens=100)
    assert batch.starts.tolist() == [[False, *title, True, False, *title, True, False, True]]


def test_a_catalogue_without_text(tokenizer):
    catalogue = tokenise(ITEMS.select("item", title=pl.lit("")), tokenizer, attribute_tokens=32)
    assert len(catalogue) == 4
    assert batch_of([[0]], catalogue, START, max_items=50, max_tokens=100).ids.tolist() == [[START]]


def test_catalogues_are_joined_end_to_end(tokenizer):
    first, second = (tokenise(ITEMS[rows], tokenizer, attribute_tokens=32) for rows in (slice(0, 3), slice(2, 4)))
    both = joined([first, second, first])
    assert len(both) == 8
    expected = [item(part, number) for part in (first, second, first) for number in range(len(part))]
    assert [item(both, number) for number in range(8)] == expected
    assert both.starts.tolist() == [*first.starts, *second.starts, *first.starts]


@pytest.fixture
def catalogue(tokenizer):
    return tokenise(ITEMS, tokenizer, attribute_tokens=32)


def test_a_history_is_read_most_recent_item_first(catalogue):
    batch = batch_of([[0, 1]], catalogue, START, max_items=50, max_tokens=100)
    assert batch.ids.tolist() == [spelled("[CLS] title c title a b brand i")]
    assert batch.types.tolist() == [[CLS, KEY, VALUE, KEY, VALUE, VALUE, KEY, VALUE]]
    assert batch.items.tolist() == [[0, 1, 1, 2, 2, 2, 2, 2]]
    assert batch.lengths.tolist() == [8]


def test_the_oldest_item_is_cut_in_its_middle(catalogue):
    batch = batch_of([[2, 0, 1]], catalogue, START, max_items=50, max_tokens=6)
    assert batch.ids.tolist() == [spelled("[CLS] title c title a b")]
    assert batch.items.tolist() == [[0, 1, 1, 2, 2, 2]]


@pytest.mark.parametrize("max_tokens", range(1, 16))
def test_a_cut_history_is_the_beginning_of_the_whole(catalogue, max_tokens):
    whole = batch_of([[2, 0, 1]], catalogue, START, max_items=50, max_tokens=100)
    cut = batch_of([[2, 0, 1]], catalogue, START, max_items=50, max_tokens=max_tokens)
    assert cut.lengths.tolist() == [max_tokens]
    for name in ("ids", "types", "items"):
        assert getattr(cut, name).tolist() == getattr(whole, name)[:, :max_tokens].tolist()


def test_only_the_most_recent_items_are_read(catalogue):
    batch = batch_of([[0, 0, 2, 1, 1]], catalogue, START, max_items=2, max_tokens=100)
    assert batch.ids.tolist() == [spelled("[CLS] title c title c")]
    assert batch.items.tolist() == [[0, 1, 1, 2, 2]]


def test_rows_are_padded_at_the_end(catalogue):
    batch = batch_of([[], [1], [3]], catalogue, START, max_items=50, max_tokens=100)
    assert batch.ids.tolist() == [[START, 0, 0], spelled("[CLS] title c"), [START, 0, 0]]
    assert batch.types.tolist() == [[CLS, PAD, PAD], [CLS, KEY, VALUE], [CLS, PAD, PAD]]
    assert batch.items.tolist() == [[0, 0, 0], [0, 1, 1], [0, 0, 0]]
    assert batch.lengths.tolist() == [1, 3, 1]


def test_an_item_without_text_keeps_its_place(catalogue):
    batch = batch_of([np.array([1, 3])], catalogue, START, max_items=50, max_tokens=100)
    assert batch.items.tolist() == [[0, 2, 2]]
