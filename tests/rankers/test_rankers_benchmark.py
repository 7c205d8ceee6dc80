"""The benchmark of rankers at a tiny size: both ways compute the same, and all it says is counted."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from test_lora import RUN, moved, pools, ranker

from lamar.rankers.pools import Lessons
from lamar.training.examples import Split

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import rankers

    yield rankers
    sys.modules.pop("rankers")


@pytest.mark.parametrize("answer", ["title", "label"])
def test_scoring_one_by_one_gives_the_same_scores(benchmark, tiny_cache, answer):
    asked, _ = pools(5, seed=2)
    model = moved(ranker(tiny_cache, answer=answer), far=0.1)
    with torch.inference_mode():
        np.testing.assert_allclose(
            benchmark.together(model, asked), benchmark.one_by_one(model, asked), rtol=1e-4, atol=1e-4
        )
    found = benchmark.scoring(model, asked, RUN, rounds=1)
    assert (found["pools"], found["candidates"]) == (5, 4)
    assert list(found)[-1] == "ratio"
    assert found["ratio"] == pytest.approx(found["pools_per_second"] / found["one_by_one_pools_per_second"], rel=0.02)


def test_labels_are_read_with_the_same_weights_and_are_shorter(benchmark, tiny_cache):
    asked, _ = pools(5, seed=2)
    titles, labels = ranker(tiny_cache), ranker(tiny_cache, answer="label")
    found = benchmark.labels(titles, asked, RUN, rounds=1, titles=2.0)
    assert found["ratio"] == pytest.approx(found["pools_per_second"] / 2, rel=0.02)
    assert titles._run.answer == "title"
    written = [sum(model._case(pool).written for pool in asked) for model in (labels, titles)]
    assert written[0] < written[1]
    with torch.inference_mode():
        assert np.abs(benchmark.together(labels, asked) - benchmark.together(titles, asked)).max() > 1e-3


def test_padded_training_has_the_same_loss(benchmark, tiny_cache):
    cases, places = pools(7, seed=3)
    lessons = Lessons(list(zip(cases, places, strict=True)), Split([], np.array([])), np.array([]), np.array([]))
    found = benchmark.training(ranker(tiny_cache), lessons, RUN, prompts=6, batch=4, rounds=1)
    assert found["losses"][0] == pytest.approx(found["losses"][1], abs=2e-4)
    assert found["prompts"] == 6
    assert 0 <= found["padding_share"] < 0.5
    assert list(found)[-1] == "ratio"
    assert found["tokens_per_second"] > 0


def test_packed_and_padded_training_have_the_same_gradients(benchmark, tiny_cache):
    model = moved(ranker(tiny_cache, train=5), far=0.1).eval()
    found = []
    for loss in (benchmark.packed_loss, benchmark.padded_loss):
        model.zero_grad()
        loss(model, model._train).backward()
        found.append(torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None]))
    assert len({case.tokens for case in model._train}) > 1
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5 * found[0].abs().max().item())
