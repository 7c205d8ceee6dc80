"""Words are hidden whole, at random, as often as asked."""

import pytest
import torch

from lamar.recformer.masking import mask_words

MASK, VOCABULARY = 999, 500
# CLS, then words of 1, 3 and 2 tokens, again and again
STARTS = torch.tensor([[False] + 400 * [True, True, False, False, True, False]]).expand(20, -1)
IDS = torch.arange(1000, 1000 + STARTS.shape[1]).expand(
    20, -1
)  # beyond the vocabulary: what is read says where it is from


@pytest.fixture(scope="module")
def hidden() -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return mask_words(IDS, STARTS, MASK, VOCABULARY, share=0.15)


def of_words(values: torch.Tensor) -> torch.Tensor:
    """(words, tokens of the longest): the words of three tokens."""
    return values[:, 1:].reshape(-1, 6)[:, 1:4]


def test_a_word_is_chosen_whole(hidden):
    _, chosen = hidden
    assert set(of_words(chosen).sum(1).tolist()) == {0, 3}


def test_cls_is_never_chosen(hidden):
    assert not hidden[1][:, 0].any()


def test_a_word_meets_one_fate(hidden):
    read, chosen = hidden
    words = of_words(read)[of_words(chosen)[:, 0]]
    kinds = torch.where(words == MASK, 0, torch.where(words < VOCABULARY, 1, 2))
    assert (kinds == kinds[:, :1]).all()
    shares = torch.bincount(kinds[:, 0], minlength=3) / len(kinds)
    assert shares.tolist() == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_as_many_words_as_asked(hidden):
    starts = STARTS[:, 1:]
    assert hidden[1][:, 1:][starts].float().mean().item() == pytest.approx(0.15, abs=0.01)


def test_what_is_not_chosen_stays(hidden):
    read, chosen = hidden
    assert torch.equal(read[~chosen], IDS[~chosen])


def test_rows_are_masked_apart():
    torch.manual_seed(0)
    _, chosen = mask_words(IDS, STARTS, MASK, VOCABULARY, share=0.5)
    assert len({tuple(row) for row in chosen.tolist()}) == len(IDS)
