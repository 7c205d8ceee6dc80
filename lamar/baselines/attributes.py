"""The attributes that items share, as S3-Rec reads them: brands, the levels of categories, genres, key phrases.

A phrase is a word of a signal, or two neighbouring ones, that several items share ("true identity"), stop words left
out. Counting finds them without a model of the language and the same way every time, and a shuffled signal has exactly
the phrases of the real one, on other items.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from lamar.errors import LamarError
from lamar.params import AttributeSets


def attribute_sets(items: pl.DataFrame, sets: AttributeSets) -> pl.DataFrame:
    """Which item has which attribute: a Boolean column for each ("genre: Drama"), a row for each of `items`.

    `items`: what a run's model reads, its first column the item. Attributes that too few or too many items share are
    left out. Raises LamarError when none remains.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    phrases = CountVectorizer(ngram_range=(1, 2), stop_words="english").build_analyzer()
    columns = [column for column in items.columns[1:] if column not in sets.left_out]
    readers = {column: _pieces if column in sets.lists else phrases for column in columns}

    def attributes(item: dict[str, Any]) -> list[str]:
        return [f"{column}: {name}" for column, read in readers.items() for name in read(item[column])]

    counted = CountVectorizer(
        analyzer=attributes, binary=True, dtype=bool, min_df=sets.min_items, max_df=sets.max_share
    )
    try:
        table = counted.fit_transform(items.iter_rows(named=True))
    except ValueError:  # nothing counted, or nothing within the bounds
        raise LamarError(
            f"no attribute in {', '.join(columns) or 'no column'} is shared by {sets.min_items} items or more and by "
            f"{sets.max_share:.0%} of all or fewer; change pretraining.attributes of this run in params.yaml"
        ) from None
    return pl.DataFrame(table.toarray(), schema=counted.get_feature_names_out().tolist())


def _pieces(text: str) -> list[str]:
    """What stands between the commas of a list."""
    return [piece for piece in text.split(", ") if piece]
