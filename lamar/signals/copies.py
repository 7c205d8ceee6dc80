"""Texts that say nearly the same in the same words: similarity join over their sets of words.

Two sets whose Jaccard similarity is at least t share one of the rarest |x| - ceil(t |x|) + 1 words of each x (prefix
filtering: Bayardo, Ma and Srikant, "Scaling Up All Pairs Similarity Search", 2007), so that few pairs are compared.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from math import ceil

from lamar.signals.rules import words


def copies(texts: Sequence[str], similarity: float) -> list[tuple[list[int], list[int]]]:
    """For every wording: the places in `texts` that have it, and those that have it or nearly it.

    A wording is a set of words (case, order and punctuation do not count); nearly is a Jaccard similarity of at least
    `similarity` (0 < similarity <= 1). Every place is in the first list of exactly one wording.
    """
    places: dict[frozenset[str], list[int]] = defaultdict(list)
    for place, text in enumerate(texts):
        places[frozenset(words(text))].append(place)
    wordings = list(places)
    near: list[list[int]] = [[number] for number in range(len(wordings))]
    for one, other in _similar(wordings, similarity):
        near[one].append(other)
        near[other].append(one)
    members = [places[wording] for wording in wordings]
    return [(members[n], sorted(p for other in near[n] for p in members[other])) for n in range(len(wordings))]


def firsts(texts: Sequence[str], similarity: float) -> list[int]:
    """The places of texts that say nearly the same as none of these before them."""
    near = {place: sharing for members, sharing in copies(texts, similarity) for place in members}
    kept: list[int] = []
    for place in range(len(texts)):
        if not set(kept) & set(near[place]):
            kept.append(place)
    return kept


def _similar(sets: list[frozenset[str]], similarity: float) -> list[tuple[int, int]]:
    """Pairs of sets that are similar enough."""
    spread = Counter(word for each in sets for word in each)
    with_word: dict[str, list[int]] = defaultdict(list)
    pairs = []
    for number, each in enumerate(sets):
        rarest = sorted(each, key=lambda word: (spread[word], word))
        prefix = rarest[: len(each) - ceil(similarity * len(each)) + 1]
        for other in {candidate for word in prefix for candidate in with_word[word]}:
            shared = len(each & sets[other])
            if shared >= similarity * (len(each) + len(sets[other]) - shared):
                pairs.append((other, number))
        for word in prefix:
            with_word[word].append(number)
    return pairs
