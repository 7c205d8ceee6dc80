"""A small catalogue of films, and an LLM behind a server that knows a taxonomy of them by heart."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import yaml
from aiohttp import web
from llm_server import Server, completion

from lamar.taxonomy.taxonomy import Taxonomy

REPOSITORY = Path(__file__).parents[2]
RUNS = ("taxrec-original", "taxrec-lamar")
TAXONOMY = Taxonomy(
    {
        "Genre": ("Drama", "Comedy", "Horror"),
        "Mood": ("Dark", "Light"),
        "Era": ("1970s", "1980s", "1990s"),
        "Audience": ("Families", "Adults"),
        "Pace": ("Slow", "Fast"),
    }
)
PROPOSED = """Here is a taxonomy:
1. **Genre**: Drama | Comedy | Horror | Other
2. Mood: Dark | Light
3. Era: 1970s | 1980s | 1990s
4. Audience: Families | Adults
5. Pace: Slow | Fast"""
FILMS = {  # title: what is said when it is to be classified
    "Alien (1979)": "Genre: Horror\nMood: Dark\nEra: 1970s\nAudience: Adults\nPace: Slow",
    "Airplane! (1980)": "Sure!\nPACE: fast\n**Genre**: a comedy\nMood: Light\nAudience: teenagers\nEra: the 1980s.",
    "Fargo (1996)": "Genre: Drama, Mood: Dark, Era: 1990s, Audience: Adults, Pace: Slow",
    "Scream (1996)": '{"Genre": "Horror", "Mood": "Dark", "Era": "1990s", "Audience": "Adults", "Pace": "Fast"}',
    "Toy Story (1995)": "comedy, light, 1990s, families, fast",
    "Untitled": "I cannot tell.",
}
VALUES = [  # of FILMS, in the order of TAXONOMY
    ("Horror", "Dark", "1970s", "Adults", "Slow"),
    ("Comedy", "Light", "1980s", None, "Fast"),
    ("Drama", "Dark", "1990s", "Adults", "Slow"),
    ("Horror", "Dark", "1990s", "Adults", "Fast"),
    ("Comedy", "Light", "1990s", "Families", "Fast"),
    (None,) * 5,
]
HISTORIES = [([0, 1], 2, 3), ([3], 1, 4), ([4], 3, 0)]  # train, validation, test of three users
LIKED = {  # the newest title of a history: what is said that the user would like
    "Fargo (1996)": "Genre: Horror\nMood: dark\nEra: 1990s\nAudience: Adults\nPace: unknown",
    "Airplane! (1980)": "Comedy, light",
    "Scream (1996)": "No idea.",
}
RANKS = [(0, 0), (0, 1), (0, 5)]  # greater and equal of the three targets among six items, counted by hand


class Taxonomist:
    """Answers the server's questions; `proposals` are said in turn, the last one for ever."""

    def __init__(self, *proposals: str) -> None:
        self.proposals = list(proposals or (PROPOSED,))
        self.films = dict(FILMS)

    async def __call__(self, _: web.Request, question: str) -> web.Response:
        answer = completion(question)
        answer["choices"][0]["message"]["content"] = self.say(question)
        return web.json_response(answer)

    def say(self, question: str) -> str:
        if "\nItem:\n" in question:
            (title,) = re.findall(r"^Title: (.*)$", question.split("\nItem:\n")[1], re.MULTILINE)
            return self.films[title]
        if "\nThe user chose:\n" in question:
            *_, newest = re.findall(r"^- (.*) \[", question, re.MULTILINE)
            return LIKED[newest]
        return self.proposals.pop(0) if len(self.proposals) > 1 else self.proposals[0]


def settled(server: Server, **changes: Any) -> dict[str, Any]:
    """params.yaml with the server as OpenAI, which the runs of TAXREC ask."""
    params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    unlimited = {"requests_per_minute": None, "tokens_per_minute": None}
    params["generators"]["gpt-4o-mini"] |= {"base_url": server.url, "budget_usd": 5, **unlimited, **changes}
    params["generate"] |= {"backoff": 0.01}
    params["tracking"]["enabled"] = False
    for run in RUNS:
        params["runs"][run]["llm"] = "gpt-4o-mini"
    return params


def write_prepared(titles: list[str]) -> None:
    """What the stages before `sequences` leave, in the working directory."""
    prepared, signals = Path("data/prepared/ml-100k"), Path("data/signals/ml-100k")
    for folder in (prepared, signals, Path("data/raw/ml-100k")):
        folder.mkdir(parents=True)
    Path("data/raw/ml-100k/source.json").write_text('{"variant": "own"}')
    ids = [f"f{number}" for number in range(len(titles))]
    items = {"item": range(len(titles)), "item_id": ids, "title": titles, "genre": "Film"}
    pl.DataFrame(items, schema_overrides={"item": pl.Int32}).write_parquet(prepared / "items.parquet")
    written = [(user, train, *last) for user, (train, *last) in enumerate(HISTORIES)]
    rows = [(user, item, at) for user, train, *last in written for at, item in enumerate([*train, *last])]
    columns = dict.fromkeys(("user", "item", "position"), pl.Int32)
    pl.DataFrame(rows, schema=columns, orient="row").write_parquet(prepared / "interactions.parquet")
    split = [(user, len(train), validation, test, "explore") for user, train, validation, test in written]
    columns = dict.fromkeys(("user", "train", "validation", "test"), pl.Int32) | {"fold": pl.String}
    pl.DataFrame(split, schema=columns, orient="row").write_parquet(prepared / "split.parquet")
    told = {"item_id": ids, "name": "Mood and Themes", "signal": [f"About {title}." for title in titles]}
    pl.DataFrame(told | {"kept": True, "reason": ""}).write_parquet(signals / "qwen-coder.parquet")
