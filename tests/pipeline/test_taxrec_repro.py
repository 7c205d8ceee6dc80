"""TAXREC with DVC, in a copy of the repository: an LLM behind a server is asked once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from aiohttp import web
from dvc.utils.serialize import modify_yaml
from llm_server import Server, completion
from test_repro import CATALOGUE, TINY, Copy, copy_sources, environment, write_catalogue

RUN = "taxrec-original"
STAGES = [
    "fetch@tiny",
    "prepare@tiny",
    *(f"{stage}@tiny-{RUN}" for stage in ("taxrec-sequences", "taxonomy", "taxrec")),
]
TAXONOMY = "Genre: Action | Comedy | Drama\nEra: 1990s | 1980s\nMood: Dark | Light\nPace: Slow | Fast\nFame: Cult | Hit"
QUESTIONS = 1 + len(CATALOGUE) + 40  # the taxonomy, the films, the viewers


async def film_expert(_: web.Request, question: str) -> web.Response:
    """A film is of the first of the three genres that it names, a viewer likes that of the newest film."""
    shown = question.split("\nItem:\n")[-1].split("The user chose:\n")[-1]
    lines = [line for line in shown.splitlines() if any(genre in line for genre in ("Action", "Comedy", "Drama"))]
    answer = completion(question)
    said = TAXONOMY if "Design a taxonomy" in question else f"Genre: {lines[-1] if lines else 'unknown'}\nMood: dark"
    answer["choices"][0]["message"]["content"] = said.replace("Genre: Genre:", "Genre:")
    return web.json_response(answer)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server() as running:
        running.always = film_expert
        yield running


@pytest.fixture(scope="module")
def copy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The copy, in which nothing was made yet."""
    folder = tmp_path_factory.mktemp("taxrec")
    made = Copy(folder / "copy", environment(folder) | {"OPENAI_API_KEY": "sk-test"})
    for name in ("home", "journal"):
        (folder / name).mkdir()
    copy_sources(made.root)
    write_catalogue(made.root / "data/own")
    with modify_yaml(str(made.root / "params.yaml")) as params:
        params["matrix"] |= {"datasets": ["tiny"], "generators": [], "backbones": [], "similarity": [], "runs": []}
        params["matrix"] |= {"taxrec": [RUN]}
        params["datasets"]["tiny"] = {**TINY, "about": "movies"}
        params["generators"]["gpt-4o-mini"] |= {"base_url": server.url, "budget_usd": 5}
        params["generators"]["gpt-4o-mini"] |= {"requests_per_minute": None, "tokens_per_minute": None}
        params["runs"][RUN]["llm"] = "gpt-4o-mini"
        params["tracking"]["enabled"] = False
    made.run("git", "init", "-q")
    return made


def test_from_raw_files_to_metrics_and_significance_reads_them(copy: Copy, server: Server) -> None:
    signals = copy.root / "data/signals/tiny"  # what the default run would have made
    signals.mkdir(parents=True)
    said = copy.run("dvc", "repro", f"evaluate-taxrec@tiny-{RUN}", "significance@tiny")
    ran = [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]
    assert ran == [*STAGES, f"evaluate-taxrec@tiny-{RUN}", "significance@tiny"]
    assert server.requests == QUESTIONS
    assert set(server.asked.values()) == {1}
    ranks = pl.read_parquet(copy.root / f"ranks/tiny/full/{RUN}.parquet")
    assert (ranks.height, ranks["candidates"].unique().to_list()) == (40, [len(CATALOGUE)])
    assert ranks["equal"].median() >= 5
    assert copy.read("metrics/tiny/significance.json")["runs"][RUN]["ndcg@10"]["value"] == pytest.approx(
        copy.read(f"metrics/tiny/full/{RUN}.json")["ndcg@10"], abs=2e-6
    )
    assert copy.run("git", "status", "--porcelain", "-uall", "data/taxonomies").split() == [
        "??",
        f"data/taxonomies/tiny/{RUN}.json",
    ]

    before = copy.metrics()
    assert "Running stage" not in copy.run("dvc", "repro", f"evaluate-taxrec@tiny-{RUN}")
    (journal,) = Path(copy.environment["LAMAR_JOURNAL"]).glob("*.jsonl")
    journal.unlink()  # the answers are outs of the stages, which persist
    copy.run("dvc", "repro", "--force", "--single-item", f"taxonomy@tiny-{RUN}", f"taxrec@tiny-{RUN}")
    assert server.requests == QUESTIONS
    assert copy.metrics() == before
