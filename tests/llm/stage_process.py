"""The stage `generate` as a process, in a folder with a catalogue of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import yaml
from aiohttp import web
from llm_generators import SECRET
from llm_server import Server, completion

from lamar.llm import journal
from lamar.signals.prompt import load_prompt
from lamar.signals.proposal import Proposal, write_proposal

REPOSITORY = Path(__file__).parents[2]
MOODS = [
    "A quiet drama about two brothers who meet again after the war and learn to forgive each other slowly.",
    "Bright and hopeful, it follows a young nurse who builds a home for stray dogs beside the sea.",
    "Dark, patient and cruel: an old judge is hunted through winter forests by the men he once sentenced.",
    "Light-hearted nonsense in a village school, made for families who want to laugh before going to bed.",
]
Run = Callable[[str], int]
"""Runs a stage; its status."""
STAGE = [sys.executable, str(REPOSITORY / "stages/generate.py"), "ml-100k", "gpt-4o-mini"]
RESPONSES = Path("data/responses/ml-100k/gpt-4o-mini.jsonl")


class Place:
    """A folder to run the stage in, with a catalogue of `items` films and the server as OpenAI."""

    def __init__(self, folder: Path, server: Server, items: int, **changes: object) -> None:
        self.folder = folder
        self.items = items
        self.environment = os.environ | {
            "OPENAI_API_KEY": SECRET,
            "PYTHONPATH": str(REPOSITORY),
            "LAMAR_JOURNAL": str(folder / "journal"),
            "NO_COLOR": "1",
        }
        params = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
        entry = params["generators"]["gpt-4o-mini"]
        unlimited = {"requests_per_minute": None, "tokens_per_minute": None}
        entry |= {"base_url": server.url, "budget_usd": 100, **unlimited, **changes}
        params["generate"] |= {"backoff": 0.01, "poll": 0.05}
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        names = [f"Film {number}" for number in range(items)]
        table = pl.DataFrame({"item_id": [str(n) for n in range(items)], "title": names, "genre": ["Drama"] * items})
        (folder / "data/prepared/ml-100k").mkdir(parents=True)
        table.write_parquet(folder / "data/prepared/ml-100k/items.parquet")
        proposal = Proposal("pinned", "", load_prompt("movielens"), ())
        write_proposal(folder / "data/proposals/ml-100k/gpt-4o-mini.json", proposal)

    def change(self, **changes: object) -> None:
        """Change settings of the generator."""
        params = yaml.safe_load((self.folder / "params.yaml").read_text())
        params["generators"]["gpt-4o-mini"] |= changes
        (self.folder / "params.yaml").write_text(yaml.safe_dump(params))

    @property
    def journal(self) -> Path:
        return Path(self.environment["LAMAR_JOURNAL"]) / "gpt-4o-mini.jsonl"

    def start(self, *command: str) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command or STAGE, cwd=self.folder, env=self.environment, text=True, **pipes)

    def run(self) -> tuple[int, str]:
        """Status and standard error of a run to its end."""
        process = self.start()
        _, complaint = process.communicate(timeout=300)
        assert "Traceback" not in complaint, complaint
        return process.returncode, complaint

    def answered(self) -> int:
        """Lines of the journal, each of which is another answer."""
        lines = self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0
        assert len(journal.read(self.journal)) == lines
        return lines

    def responses(self) -> int:
        return len((self.folder / RESPONSES).read_text().splitlines())


async def thinks(_: web.Request, question: str) -> web.Response:
    """An LLM that proposes Mood, and writes a good signal about every film."""
    answer = completion(question)
    about_an_item = "of one item as input" in question
    idea = "Users choose by how a film feels. Recommended feature: Mood."
    answer["choices"][0]["message"]["content"] = MOODS[sum(question.encode()) % 4] if about_an_item else idea
    return web.json_response(answer)
