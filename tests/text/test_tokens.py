"""Item text as tokens, by hand: every word is one token, numbered by VOCABULARY."""

import numpy as np
import polars as pl
import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel, WordPiece
from tokenizers.pre_tokenizers import Whitespace

from lamar.text.tokens import KEY, VALUE, joined, tokenise

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


def test_a_catalogue_without_text(tokenizer):
    catalogue = tokenise(ITEMS.select("item", title=pl.lit("")), tokenizer, attribute_tokens=32)
    assert [item(catalogue, number) for number in range(4)] == [([], [])] * 4


def test_catalogues_are_joined_end_to_end(tokenizer):
    first, second = (tokenise(ITEMS[rows], tokenizer, attribute_tokens=32) for rows in (slice(0, 3), slice(2, 4)))
    both = joined([first, second, first])
    assert len(both) == 8
    expected = [item(part, number) for part in (first, second, first) for number in range(len(part))]
    assert [item(both, number) for number in range(8)] == expected
    assert both.starts.tolist() == [*first.starts, *second.starts, *first.starts]
