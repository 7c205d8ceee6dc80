"""What a result took: the time of its training, and the tokens and money of the signals that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lamar.files import read_json
from lamar.params import AGAIN
from lamar.report.results import Result
from lamar.report.times import known_times

COUNTED = ("requests", "input_tokens", "output_tokens", "cost_usd")


@dataclass(frozen=True)
class Cost:
    """Of one result. seconds: of the training of each seed, none when not recorded; machine: what trained, in words.

    usage: sums of COUNTED over the generators of its signals; empty when it reads none or nobody counted.
    """

    result: Result
    seconds: list[float]
    machine: str
    usage: dict[str, float]


def costs(root: Path, dataset: str, results: Sequence[Result]) -> list[Cost]:
    """One for each result."""
    times = known_times(root, dataset)
    return [_cost(root, dataset, result, times.get(result.run, {})) for result in results]


def _cost(root: Path, dataset: str, result: Result, time: dict[str, Any]) -> Cost:
    seconds = list(time.get("seconds", {}).values())
    signals = list(result.signature["signals"])
    spent = signal_usage(root, dataset, signals)
    own = own_usage(root, dataset, result.run) if spent or not signals else []
    return Cost(result, seconds, time.get("machine", ""), _sum([*own, *([spent] if spent else [])]))


def signal_usage(root: Path, dataset: str, generators: Sequence[str]) -> dict[str, float]:
    """What asking for the signals of these generators took; second answers (`-again`) took the first ones as well."""
    asked = {name for generator in generators for name in (generator, generator.removesuffix(AGAIN))}
    paths = [root / "metrics" / dataset / name / "usage.json" for name in sorted(asked)]
    return _sum([read_json(path) for path in paths]) if all(path.exists() for path in paths) else {}


def own_usage(root: Path, dataset: str, run: str) -> list[dict[str, float]]:
    """What a run asked an LLM itself, stage by stage: TAXREC's classes and profiles; empty for other models."""
    paths = [root / "metrics" / dataset / run / f"{stage}.json" for stage in ("taxonomy", "taxrec")]
    return [read_json(path)["usage"] for path in paths if path.exists()]


def _sum(usages: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(usage[name] for usage in usages) for name in COUNTED} if usages else {}
