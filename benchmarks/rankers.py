"""Speed of ranking pools and of learning on them, against the plain ways of doing both with the same LLM.

Scoring: all candidates of a pool in one pass that reads the prompt once, against a pass for each candidate, which reads
the prompt every time; and, in one pass, the candidates' labels instead of their titles. Training: prompts side by side
in one row, each blind to the others, and logits of the answers alone, against what transformers does with a batch:
padding, and logits of every token. Tokens are those of prompts and answers; padding does not count. Without a GPU
seconds are of the processor, all threads together. After the stages `sequences` and `pools` of the run:

    python benchmarks/rankers.py ml-100k lora-small-original
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from torch import Tensor

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_json
from lamar.params import LoraRun
from lamar.rankers.attention import by_case
from lamar.rankers.likelihood import Case, row_of, token_log_likelihoods
from lamar.rankers.lora import LoraRanker
from lamar.rankers.pools import Lessons, Pool, read_asked, read_lessons
from lamar.training import fit

IGNORED = -100  # the label of a token that transformers is not to learn


@contextmanager
def plain_attention(model: LoraRanker) -> Iterator[None]:
    """Inside, the LLM attends as transformers does by default."""
    llm = model.llm.get_base_model()
    llm.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        llm.set_attn_implementation(by_case())


def one_by_one(model: LoraRanker, pools: Sequence[Pool]) -> np.ndarray:
    """The score of every candidate (pools, candidates), each by a pass of its own."""
    model.eval()
    cases = [model._case(pool) for pool in pools]
    with plain_attention(model):
        return np.array([[_alone(model.llm, case.question, answer) for answer in case.answers] for case in cases])


def _alone(llm: Any, question: Sequence[int], answer: Sequence[int]) -> float:
    ids = torch.tensor([[*question, *answer]], device=llm.device)
    logits = llm(input_ids=ids, logits_to_keep=len(answer) + 1, use_cache=False).logits[0, :-1]
    written = torch.tensor(answer, device=llm.device)[:, None]
    return float(logits.float().log_softmax(-1).gather(1, written).mean())


def together(model: LoraRanker, pools: Sequence[Pool]) -> np.ndarray:
    """The same scores, all candidates of a pool in one pass."""
    scores = np.empty((len(pools), len(pools[0].candidates)), np.float32)
    for rows, part in model.scores(pools):
        scores[rows] = part.cpu().numpy()
    return scores


def packed_loss(model: LoraRanker, cases: Sequence[Case]) -> Tensor:
    """The mean loss of the answers' tokens, the prompts side by side in one row."""
    return -token_log_likelihoods(model.llm, row_of(cases)).mean()


def padded_loss(model: LoraRanker, cases: Sequence[Case]) -> Tensor:
    """The same loss as transformers computes it, of a batch that is padded to its longest prompt."""
    width = max(case.tokens for case in cases)
    shape = (len(cases), width)
    ids, seen, labels = torch.zeros(shape).long(), torch.zeros(shape).long(), torch.full(shape, IGNORED)
    for row, case in enumerate(cases):
        tokens = torch.tensor([*case.question, *case.answers[0]])
        ids[row, : len(tokens)], seen[row, : len(tokens)] = tokens, 1
        labels[row, len(case.question) : len(tokens)] = tokens[len(case.question) :]
    device = model.llm.device
    with plain_attention(model):
        return model.llm(input_ids=ids.to(device), attention_mask=seen.to(device), labels=labels.to(device)).loss


def timed(work: Callable[[], Any], rounds: int) -> tuple[Any, float]:
    """What `work` returns, and the seconds of the fastest of `rounds`.

    Of the wall clock with a GPU; without one of the processor, so that other programs do not count.
    """
    gpu = torch.cuda.is_available()
    clock = time.perf_counter if gpu else time.process_time
    taken = []
    for _ in range(rounds):
        started = clock()
        value = work()
        if gpu:
            torch.cuda.synchronize()
        taken.append(clock() - started)
    return value, min(taken)


def scoring(model: LoraRanker, pools: Sequence[Pool], run: LoraRun, rounds: int) -> dict[str, float]:
    """Pools a second of both ways; `difference`: the largest of their scores."""
    with torch.inference_mode(), fit.precision(run):
        ours, fast = timed(lambda: together(model, pools), rounds)
        plain, slow = timed(lambda: one_by_one(model, pools), rounds)
    return {
        "pools": len(pools),
        "candidates": len(pools[0].candidates),
        "difference": round(float(np.abs(ours - plain).max()), 6),
        "pools_per_second": round(len(pools) / fast, 4),
        "one_by_one_pools_per_second": round(len(pools) / slow, 4),
        "ratio": round(slow / fast, 2),
    }


def labels(model: LoraRanker, pools: Sequence[Pool], run: LoraRun, rounds: int, titles: float) -> dict[str, float]:
    """Pools a second when the candidates' labels are read; `ratio`: to the `titles` a second of `scoring`."""
    labelled = copy.copy(model)  # the same weights
    labelled._run = run.model_copy(update={"answer": "label"})
    with torch.inference_mode(), fit.precision(run):
        _, seconds = timed(lambda: together(labelled, pools), rounds)
    return {"pools_per_second": round(len(pools) / seconds, 4), "ratio": round(len(pools) / seconds / titles, 2)}


def training(
    model: LoraRanker, lessons: Lessons, run: LoraRun, prompts: int, batch: int, rounds: int
) -> dict[str, float]:
    """Tokens a second of both ways, forward and backward, `batch` prompts at once; `losses`: of the first batch."""
    cases = [model._case(pool, only=place) for pool, place in lessons.train[:prompts]]
    batches = [cases[start : start + batch] for start in range(0, len(cases), batch)]
    model.eval()  # without dropout the two losses are the same
    with torch.no_grad(), fit.precision(run):
        losses = [round(float(loss(model, batches[0])), 4) for loss in (packed_loss, padded_loss)]
    model.train()

    def learn(loss: Callable[[LoraRanker, Sequence[Case]], Tensor]) -> None:
        for batch in batches:
            with fit.precision(run):
                value = loss(model, batch)
            value.backward()
        model.zero_grad()

    tokens = sum(case.tokens for case in cases)
    (_, fast), (_, slow) = (timed(lambda way=way: learn(way), rounds) for way in (packed_loss, padded_loss))
    padded = sum(len(batch) * max(case.tokens for case in batch) for batch in batches)
    return {
        "prompts": len(cases),
        "prompts_at_once": batch,
        "tokens_per_prompt": round(tokens / len(cases)),
        "losses": losses,
        "padding_share": round(1 - tokens / padded, 4),
        "tokens_per_second": round(tokens / fast, 1),
        "padded_tokens_per_second": round(tokens / slow, 1),
        "ratio": round(slow / fast, 2),
    }


@click.command()
@click.argument("dataset")
@click.argument("run")
@click.option("--pools", "count", default=4, show_default=True, help="Test pools that are scored.")
@click.option("--prompts", default=16, show_default=True, help="Training prompts that are learned.")
@click.option("--batch", type=int, help="Of these at once: padded, their logits take memory.  [default: the run's]")
@click.option("--rounds", default=2, show_default=True, help="The fastest counts.")
@user_errors
def main(dataset: str, run: str, count: int, prompts: int, batch: int | None, rounds: int) -> None:
    """Write benchmarks/results/rankers-DATASET-RUN.json."""
    import polars as pl

    from lamar.llm.local import weights_folder
    from lamar.rankers.prompts import Catalogue

    chosen = params.load()
    settings = params.ranker(chosen, run)
    llm = chosen.generators[settings.llm]
    path = f"data/pools/{dataset}/{chosen.tune.pools}/{run}.parquet"
    items = pl.read_parquet(f"data/sequences/{dataset}/{run}/items.parquet")
    catalogue = Catalogue(items, settings.attribute_words)
    model = LoraRanker(weights_folder(llm), llm.model, settings, catalogue, []).to(fit.device())
    asked = read_asked(path).pools[:count]
    scored = scoring(model, asked, settings, rounds)
    result = {
        "model": llm.model,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} threads",
        "scoring": scored,
        "labels": labels(model, asked, settings, rounds, scored["pools_per_second"]),
        "training": training(model, read_lessons(path), settings, prompts, batch or settings.batch, rounds),
    }
    write_json(Path(f"benchmarks/results/rankers-{dataset}-{run}.json"), result)
    say(str(result))


if __name__ == "__main__":
    main()
