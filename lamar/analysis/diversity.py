"""How alike a generator's signals are: near-duplicates by meaning (paper, section 5.2), by words, by templates."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from lamar.console import progress

BLOCK = 1 << 25  # similarities held at once: 128 MB of float32
WORD = re.compile(r"\w+(?:['’]\w+)*")
GAP = "…"
DIGITS = 6


def alike(vectors: np.ndarray, thresholds: Sequence[float]) -> np.ndarray:
    """How many other rows each row is similar to, (thresholds, rows).

    vectors: (rows, dimensions) float32 of length 1. Similar: cosine of at least the threshold. The matrix of
    similarities is made in blocks of rows and never held whole.
    """
    rows = len(vectors)
    counts = np.empty((len(thresholds), rows), dtype=np.int64)
    size = max(1, BLOCK // max(rows, 1))
    with progress() as bar:
        task = bar.add_task("similarities", total=rows, note="")
        for start in range(0, rows, size):
            similarities = vectors[start : start + size] @ vectors.T
            own = np.arange(len(similarities))
            similarities[own, start + own] = -1  # a row is not another row
            for place, threshold in enumerate(thresholds):
                counts[place, start : start + size] = (similarities >= threshold).sum(axis=1)
            bar.advance(task, len(similarities))
    return counts


def highly_similar(counts: np.ndarray, share: float) -> list[int]:
    """Rows that are similar to more than `share` of the rows, by threshold; counts: as `alike` gives them."""
    return [int((row > share * counts.shape[1]).sum()) for row in counts]


def distinct(texts: Sequence[str], n: int) -> float:
    """Share of n-grams of words that are different (distinct-n, Li et al. 2016). It falls as there are more texts."""
    grams = Counter(gram for text in texts for gram in _grams(_words(text), n))
    return len(grams) / max(grams.total(), 1)


def compression(texts: Sequence[str]) -> float:
    """How many times smaller the texts are when compressed together: more is more repetition.

    It goes with self-BLEU and costs no quadratic time (Shaib et al. 2024, "Standardizing the measurement of text
    diversity").
    """
    joined = "\n".join(texts).encode()
    return len(joined) / max(len(zlib.compress(joined, 9)), 1)


def openings(texts: Sequence[str], words: int) -> Counter[str]:
    """How many texts begin with the same `words` words."""
    return Counter(" ".join(_words(text)[:words]) for text in texts)


def skeletons(texts: Sequence[str], common_share: float) -> Counter[str]:
    """How many texts are the same but for rare words: words in fewer than `common_share` of the texts are gaps."""
    words = [_words(text) for text in texts]
    used = Counter(word for one in words for word in set(one))
    common = {word for word, count in used.items() if count >= common_share * len(texts)}
    return Counter(_skeleton(one, common) for one in words)


def _skeleton(words: Sequence[str], common: set[str]) -> str:
    kept = [word if word in common else GAP for word in words]
    return " ".join(word for place, word in enumerate(kept) if word != GAP or place == 0 or kept[place - 1] != GAP)


def wording(texts: Sequence[str], sample: int, seed: int) -> dict[str, Any]:
    """Vocabulary and repetition of `sample` texts drawn by `seed`, so that datasets of any size compare; templates.

    Templates are counted over all texts; the five most frequent of each kind that occur more than once.
    """
    drawn = texts if len(texts) <= sample else [texts[i] for i in _draw(len(texts), sample, seed)]
    words = [word for text in drawn for word in _words(text)]
    return {
        "sample": len(drawn),
        "vocabulary": len(set(words)),
        "words": len(words),
        **{f"distinct_{n}": round(distinct(drawn, n), DIGITS) for n in (1, 2, 3)},
        "compression": round(compression(drawn), DIGITS),
        "openings": _frequent(openings(texts, words=3), len(texts)),
        "skeletons": _frequent(skeletons(texts, common_share=0.05), len(texts)),
    }


def _draw(count: int, sample: int, seed: int) -> list[int]:
    return np.sort(np.random.default_rng(seed).choice(count, sample, replace=False)).tolist()


def _frequent(counts: Counter[str], texts: int) -> list[dict[str, Any]]:
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    found = [(text, count) for text, count in ordered[:5] if count > 1 and set(text) - {GAP, " "}]
    return [{"text": text, "signals": count, "share": round(count / texts, DIGITS)} for text, count in found]


def _words(text: str) -> list[str]:
    return WORD.findall(text.casefold())


def _grams(words: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(n)), strict=False))
