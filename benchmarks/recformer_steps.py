"""Where the time of Recformer's training steps goes on a GPU, kernel by kernel, in the published size.

Users, model and training loop are those of `recformer.py`; no reference is trained, so that it takes a minute:

    python benchmarks/recformer_steps.py
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import click
import torch
from recformer import (
    SIZES,
    STEP,
    Ours,
    both,
    disagreement,
    drawn_from,
    flops,
    matrix_product,
    measured,
    rates,
    settings_of,
    synthetic,
    timed,
)

from lamar.console import progress, say, user_errors
from lamar.errors import LamarError
from lamar.files import write_json
from lamar.training.examples import Split

SIZE, PRECISION = "base", "bfloat16"
ITEMS = 5327  # the paper's catalogue
LONGEST = 70  # kernels that are told apart; on an H100 what the others take is 5% of a step, in a thousand launches
# What a kernel belongs to, by the first of these that is in its name.
PARTS = {
    "nvjet": "matrix products",
    "cutlass": "matrix products",
    "splitK": "matrix products",
    "attend": "windows",
    "cls_": "CLS",
    "FusedOptimizer": "AdamW",
    "triton": "norms, dropout, GELU, sums, casts, as compiled",
}
OTHER = "sums of gradients, embeddings, copies"
SHORT = "short kernels of all kinds"


def part_of(kernel: str) -> str:
    """The part of a step that a kernel belongs to."""
    return next((part for name, part in PARTS.items() if name in kernel), OTHER)


def profiled(ours: Ours, drawn: Split) -> dict[str, tuple[int, float]]:
    """Of every kernel of an epoch how often it ran, and its milliseconds; the longest first."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        timed(lambda: ours.train(drawn))
    found: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for event in profile.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:  # the host's launches are events, too
            times, spent = found[event.name]
            found[event.name] = (times + 1, spent + event.device_time / 1e3)
    return dict(sorted(found.items(), key=lambda one: -one[1][1]))


def shares(kernels: dict[str, tuple[int, float]], steps: int) -> dict[str, float]:
    """Milliseconds a step of every part, the longest first."""
    found: dict[str, float] = defaultdict(float)
    for place, (name, (_, spent)) in enumerate(kernels.items()):
        found[part_of(name) if place < LONGEST else SHORT] += spent / steps
    return {part: round(spent, 2) for part, spent in sorted(found.items(), key=lambda one: -one[1])}


@click.command()
@click.option("--users", default=4096, show_default=True, help="Of the epoch.")
@user_errors
def main(users: int) -> None:
    """Write benchmarks/results/recformer-steps-cuda.json."""
    if not torch.cuda.is_available():
        raise LamarError("no GPU here: benchmarks/recformer.py measures what a CPU does")
    catalogue, train, ranked = synthetic(users, ITEMS, SIZES[SIZE]["vocab_size"])
    ours, plain = both(SIZE, catalogue, train, settings_of(SIZE, STEP, PRECISION))
    difference = disagreement(ours, plain, ranked)
    del plain
    ours.model.model.compile_layers()
    possible = matrix_product(PRECISION)
    drawn = drawn_from(train)
    with progress() as bar:
        seconds = measured(ours, drawn, ranked, ITEMS, 1, bar)
    kernels, steps = profiled(ours, drawn), users // STEP
    reached = rates(seconds, users, ITEMS, 3 * flops(SIZE, drawn.histories, catalogue), possible)
    result = {
        "device": torch.cuda.get_device_name(),
        "users": users,
        "difference": difference,
        "matrix_product_tflops": round(possible / 1e12, 3),
        "ours": {name: value for name, value in reached.items() if "memory" not in name},  # the reference's was there
        "step_ms": round(seconds["train"] / steps * 1e3, 2),
        "kernels_a_step": round(sum(count for count, _ in kernels.values()) / steps),
        "parts_ms": shares(kernels, steps),
        "kernels": [
            {"name": name[:80], "times": round(count / steps, 1), "ms": round(spent / steps, 3)}
            for name, (count, spent) in list(kernels.items())[:LONGEST]
        ],
    }
    write_json(Path("benchmarks/results/recformer-steps-cuda.json"), result)
    for part, spent in result["parts_ms"].items():
        say(f"{spent:6.2f} ms  {part}")
    say(f"{result['step_ms']:6.2f} ms  a step of {STEP} users, {result['ours']['train_users_per_second']:,} users/s")


if __name__ == "__main__":
    main()
