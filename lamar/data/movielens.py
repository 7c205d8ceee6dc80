"""MovieLens: the official archives (100K and 1M) and RecBole's copy of 100K, read to the same items.

The archives write `Toy Story (1995)`; RecBole splits title and year, which are joined again here, and writes
'unkonwn' (so spelt) where the archive has `unknown` or nothing.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import polars as pl

from lamar.data.interactions import Interactions
from lamar.data.jsonlines import broken
from lamar.data.raw import INTERACTIONS, Raw, Tally, one_line, without_untitled
from lamar.errors import LamarError

# The flags that end a line of u.item, in its order.
GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
LARGEST = 1 << 30  # bytes that one file of the archive may unpack to; the million ratings are 25 MB
RECBOLE_MISSING = "unkonwn"


def read(folder: Path, files: list[str], attributes: list[str]) -> Raw:
    """Read `files` in `folder`. Raises LamarError when the archive is broken or an attribute is not title or genre."""
    unknown = set(attributes) - {"title", "genre"}
    if unknown:
        raise LamarError(f"params.yaml: attributes {sorted(unknown)} are not in MovieLens; it has title and genre")
    zips = [folder / file for file in files if file.endswith(".zip")]
    items, interactions, tallies = _archive(zips[0]) if zips else _recbole(folder, files)
    items, untitled = without_untitled(items.select("item_id", one_line("title"), one_line("genre")), "title")
    kept = Interactions([interactions], folder)
    dropped = kept.keep_items(items, untitled)
    items = items.select("item_id", *attributes)
    return Raw(items, kept, tallies, {"items_without_title": len(untitled), **dropped})


def _archive(path: Path) -> tuple[pl.DataFrame, pl.DataFrame, list[Tally]]:
    """Items, interactions and tallies of an official archive; the 1M one is known by its ratings.dat."""
    texts = _texts(path)
    newer = "ratings.dat" in texts
    movies, ratings, separator = ("movies.dat", "ratings.dat", "::") if newer else ("u.item", "u.data", "\t")
    if not {movies, ratings} <= texts.keys():
        raise LamarError(f"{path}: needs {movies} and {ratings} inside; delete it and fetch it again")
    tallies = [Tally(f"{path}:{movies}"), Tally(f"{path}:{ratings}")]
    items = (_movies_dat if newer else _u_item)(texts[movies], tallies[0])
    rated = _fields(texts[ratings], separator, ["user_id", "item_id", "rating", "timestamp"], tallies[1])
    return items, _timed(rated, tallies[1]), tallies


def _texts(path: Path) -> dict[str, str]:
    """The text of each file we read in an archive, by its basename."""
    wanted = {"u.item", "u.data", "movies.dat", "ratings.dat"}
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if Path(member.filename).name in wanted]
            for member in members:  # zipfile gives no byte more than the size that is stated
                if member.file_size > LARGEST:
                    size = f"{member.file_size:,} bytes, more than {LARGEST:,}"
                    raise LamarError(f"{path}: {member.filename} would unpack to {size}; take the publisher's archive")
            return {Path(member.filename).name: archive.read(member).decode("latin-1") for member in members}
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise broken(path, error) from None


def _u_item(text: str, tally: Tally) -> pl.DataFrame:
    """item_id, title, genre of the 100K archive: genres are flags."""
    flags = [f"flag_{genre}" for genre in GENRES]
    fields = _fields(text, "|", ["item_id", "title", "date", "video_date", "link", *flags], tally)
    named = [pl.when(pl.col(flag) == "1").then(pl.lit(genre)) for flag, genre in zip(flags, GENRES, strict=True)]
    return fields.select("item_id", "title", genre=pl.concat_str(named, separator=", ", ignore_nulls=True))


def _movies_dat(text: str, tally: Tally) -> pl.DataFrame:
    """item_id, title, genre of the 1M archive."""
    fields = _fields(text, "::", ["item_id", "title", "genre"], tally)
    return fields.select("item_id", "title", pl.col("genre").str.replace_all("|", ", ", literal=True))


def _recbole(folder: Path, files: list[str]) -> tuple[pl.DataFrame, pl.DataFrame, list[Tally]]:
    """Items, interactions and tallies of RecBole's atomic files."""
    paths = {Path(file).suffix: folder / file for file in files}
    tallies = {suffix: Tally(str(path)) for suffix, path in paths.items()}
    movies = _atomic(paths[".item"], ["item_id", "movie_title", "release_year", "class"], tallies[".item"])
    missing = pl.col("release_year") == RECBOLE_MISSING
    title = pl.col("movie_title").str.replace(f"^{RECBOLE_MISSING}$", "unknown")
    items = movies.select(
        "item_id",
        title=pl.when(missing).then(title).otherwise(pl.format("{} ({})", title, "release_year")),
        genre=pl.col("class").str.replace_all(" ", ", ", literal=True),
    )
    rated = _atomic(paths[".inter"], ["user_id", "item_id", "timestamp"], tallies[".inter"])
    return items, _timed(rated, tallies[".inter"]), list(tallies.values())


def _atomic(path: Path, wanted: list[str], tally: Tally) -> pl.DataFrame:
    """The columns `wanted` of an atomic file, whose header reads `name:type`."""
    header, _, text = path.read_text(encoding="utf-8").partition("\n")
    names = [name.split(":")[0] for name in header.split("\t")]
    absent = [name for name in wanted if name not in names]
    if absent:
        raise LamarError(f"{path}:1: no column {absent[0]}; it has {', '.join(names)}")
    return _fields(text, "\t", names, tally, first_line=2).select(*wanted, "line")


def _fields(text: str, separator: str, names: list[str], tally: Tally, first_line: int = 1) -> pl.DataFrame:
    """One text column per name, and `line` (number in the file); lines with another number of fields are counted."""
    lines = text.removesuffix("\n").split("\n") if text else []
    tally.total += len(lines)
    frame = pl.DataFrame({"text": lines}, schema={"text": pl.String}).with_row_index("line", offset=first_line)
    frame = frame.with_columns(pl.col("text").str.strip_chars_end("\r").str.split(separator))
    good = pl.col("text").list.len() == len(names)
    tally.bad(f"not {len(names)} fields", *frame.filter(~good)["line"])
    return frame.filter(good).with_columns(pl.col("text").list.to_struct(fields=names)).unnest("text")


def _timed(fields: pl.DataFrame, tally: Tally) -> pl.DataFrame:
    """The columns of INTERACTIONS, of the rows whose timestamp is a number; the others are counted."""
    timed = fields.with_columns(pl.col("timestamp").cast(pl.Float64, strict=False).cast(pl.Int64, strict=False))
    tally.bad("timestamp is not a number", *timed.filter(pl.col("timestamp").is_null())["line"])
    return timed.drop_nulls("timestamp").select(*INTERACTIONS).cast(INTERACTIONS)
