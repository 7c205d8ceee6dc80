"""The adapter is what is trained and kept; ranking does not hang on what shares a row."""

from pathlib import Path

import numpy as np
import polars as pl
import tiny_llm as tiny
import torch

from lamar.params import LoraRun, Prompts
from lamar.rankers.lora import LoraRanker
from lamar.rankers.pools import Pool
from lamar.rankers.prompts import Catalogue
from lamar.training import fit
from lamar.training.examples import Split

THINGS = ["drum", "guitar", "saw", "drill", "lamp", "chair", "table", "glass", "paper", "brush"]
ITEMS = pl.DataFrame({"item": range(10), "title": THINGS, "brand": ["red", "blue"] * 5})
RUN = LoraRun(
    model="lora",
    llm="tiny",
    features="original",
    seeds=[0],
    pools_seed=0,
    prompts=Prompts(train=1, validation=1, test=1),
    history=2,
    candidates=4,
    attribute_words=5,
    answer="title",
    rank=8,
    alpha=32,
    dropout=0.0,
    targets=["q_proj", "k_proj", "v_proj"],
    epochs=6,
    patience=6,
    batch=4,
    accumulate=1,
    learning_rate=0.02,
    weight_decay=0.0,
    warmup_steps=2,
    validation_users=0,
    gradient_checkpointing=False,
    row_tokens=600,
)


def pools(number: int, seed: int) -> tuple[list[Pool], np.ndarray]:
    """After thing n always comes thing n + 1."""
    rng = np.random.default_rng(seed)
    asked, places = [], []
    for _ in range(number):
        last = int(rng.integers(10))
        target = (last + 1) % 10
        others = rng.permutation([item for item in range(10) if item not in (last, target)])[:3].tolist()
        place = int(rng.integers(4))
        asked.append(Pool([(last - 1) % 10, last], [*others[:place], target, *others[place:]]))
        places.append(place)
    return asked, np.array(places)


def ranker(cache: Path, train: int = 40, **changes: object) -> LoraRanker:
    torch.manual_seed(0)
    run = RUN.model_copy(update=changes)
    folder = tiny.weights_folder(cache, tiny.generator("float32"))
    return LoraRanker(folder, run, Catalogue(ITEMS, run.attribute_words), list(zip(*pools(train, seed=1), strict=True)))


def scored(model: LoraRanker, asked: list[Pool]) -> np.ndarray:
    scores = np.full((len(asked), 4), np.nan, np.float32)
    with torch.inference_mode():
        for rows, part in model.scores(asked):
            scores[rows] = part
    return scores


def test_scores_do_not_hang_on_what_shares_a_row(tiny_cache):
    asked, _ = pools(9, seed=2)
    together = scored(ranker(tiny_cache), asked)
    alone = scored(ranker(tiny_cache, row_tokens=1), asked)
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=1e-4)
    assert len(np.unique(together.round(4))) > 20


def test_only_the_adapter_learns_and_is_kept(tiny_cache):
    model = ranker(tiny_cache)
    learning = {name for name, weight in model.named_parameters() if weight.requires_grad}
    assert learning
    assert all("lora_" in name for name in learning)
    assert all("lora_" in name for name in model.state_dict())
    assert len(learning) == len(model.state_dict()) == 2 * 2 * 3  # A and B, layers, projections


def test_an_adapter_can_be_taken_up_again(tiny_cache):
    asked, _ = pools(5, seed=3)
    model = ranker(tiny_cache)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += torch.randn_like(weight)
    other = ranker(tiny_cache)
    assert np.abs(scored(other, asked) - scored(model, asked)).max() > 1e-2
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(scored(other, asked), scored(model, asked))


def test_every_training_pool_is_in_one_row_of_an_epoch(tiny_cache):
    model = ranker(tiny_cache, train=11)
    rows = model.batches(np.random.default_rng(0))
    assert [int(row.answer[-1]) + 1 for row in rows] == [4, 4, 3]
    whole = ranker(tiny_cache, train=11, batch=11).batches(np.random.default_rng(1))
    assert sorted(torch.cat([row.ids for row in rows]).tolist()) == sorted(whole[0].ids.tolist())


def test_the_loss_falls_and_the_ranks_get_better(tiny_cache):
    model = ranker(tiny_cache, train=80)
    validation = Split(*pools(30, seed=4))
    curve = fit.fit(model, validation, RUN, RUN.epochs, seed=0, seen=lambda epoch: None)
    losses = [epoch.loss for epoch in curve[1:]]
    assert losses[-1] < 0.6 * losses[0]
    assert curve[-1].validation > curve[0].validation + 0.05  # of 0.36 that there is to gain


def test_gradient_checkpointing_changes_no_gradient(tiny_cache):
    gradients = []
    for checkpointing in (False, True):
        model = ranker(tiny_cache, gradient_checkpointing=checkpointing).train()
        model.loss(model.batches(np.random.default_rng(0))[0]).backward()
        gradients.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0
