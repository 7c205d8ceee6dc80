"""Where the time of Recformer's training steps goes on a GPU, kernel by kernel, in the published size.

Users, model and training loop are those of `recformer.py`; no reference is trained, so that it takes a minute:

    python benchmarks/recformer_steps.py
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from recformer import STEP, Ours, both, disagreement, flops, matrix_product, rates, synthetic, timed

from lamar.console import say, user_errors
from lamar.errors import LamarError
from lamar.files import write_json
from lamar.params import RecformerRun
from lamar.training.examples import Split, draw

SIZE = "base"
ITEMS = 5327  # the paper's catalogue
SHOWN = 40  # kernels; those behind them take less than a hundredth together
# What a kernel belongs to, by the first of these that is in its name.
PARTS = {
    "nvjet": "matrix products",
    "cutlass": "matrix products",
    "splitK": "matrix products",
    "attend": "windows",
    "cls_": "CLS",
    "FusedOptimizer": "AdamW",
    "triton": "compiled: norms, dropout, GELU, sums, casts",
}
OTHER = "other: sums of gradients, embeddings, copies"


def part_of(kernel: str) -> str:
    """The part of a step that a kernel belongs to."""
    return next((part for name, part in PARTS.items() if name in kernel), OTHER)


def profiled(ours: Ours, drawn: Split) -> dict[str, tuple[int, float]]:
    """Of every kernel of an epoch how often it ran, and its milliseconds."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        timed(lambda: ours.train(drawn))
    found: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for event in profile.events():
        times, spent = found[event.name]
        found[event.name] = (times + 1, spent + event.device_time / 1e3)
    return dict(sorted(found.items(), key=lambda one: -one[1][1]))


def measured(ours: Ours, drawn: Split, ranked: Split) -> dict[str, float]:
    """Seconds of the second of two rounds of each job, as `recformer.rates` reads them."""
    jobs = {"train": lambda: ours.train(drawn), "encode": lambda: ours.encode(ITEMS), "rank": lambda: ours.rank(ranked)}
    times = {}
    for name, job in jobs.items():
        job()
        times[name] = timed(job)
    return times | {"memory_gb": torch.cuda.max_memory_reserved() / 1e9}


def shares(kernels: dict[str, tuple[int, float]], steps: int) -> dict[str, float]:
    """Milliseconds a step of every part, the longest first."""
    found: dict[str, float] = defaultdict(float)
    for name, (_, spent) in kernels.items():
        found[part_of(name)] += spent / steps
    return {part: round(spent, 2) for part, spent in sorted(found.items(), key=lambda one: -one[1])}


@click.command()
@click.option("--users", default=4096, show_default=True, help="Of the epoch.")
@user_errors
def main(users: int) -> None:
    """Write benchmarks/results/recformer-steps-cuda.json."""
    if not torch.cuda.is_available():
        raise LamarError("no GPU here: benchmarks/recformer.py measures what a CPU does")
    settings: dict[str, Any] = {"precision": "bfloat16", "layers": 12, "batch": STEP, "accumulate": 1}
    settings |= {"learning_rate": 5e-5, "weight_decay": 0.0, "warmup_steps": 100}
    catalogue, train, ranked = synthetic(users, ITEMS, 50265)
    ours, plain = both(SIZE, catalogue, train, RecformerRun.model_construct(**settings))
    difference = disagreement(ours, plain, ranked)
    del plain
    ours.model.model.compile_layers()
    possible = matrix_product("bfloat16")
    examples = draw(train, 1, 1, np.random.default_rng(0))
    drawn = Split(examples.histories, examples.targets[:, 0])
    times = measured(ours, drawn, ranked)
    kernels, steps = profiled(ours, drawn), users // STEP
    result = {
        "device": torch.cuda.get_device_name(),
        "users": users,
        "difference": difference,
        "ours": rates(times, users, ITEMS, 3 * flops(SIZE, drawn.histories, catalogue), possible),
        "step_ms": round(times["train"] / steps * 1e3, 2),
        "kernels_a_step": round(sum(times for times, _ in kernels.values()) / steps),
        "parts_ms": shares(kernels, steps),
        "kernels": [
            {"name": name[:80], "times": round(count / steps, 1), "ms": round(spent / steps, 3)}
            for name, (count, spent) in list(kernels.items())[:SHOWN]
        ],
    }
    write_json(Path("benchmarks/results/recformer-steps-cuda.json"), result)
    for part, spent in result["parts_ms"].items():
        say(f"{spent:6.2f} ms  {part}")
    say(f"{result['step_ms']:6.2f} ms  a step of {STEP} users, {result['ours']['train_users_per_second']:,} users/s")


if __name__ == "__main__":
    main()
