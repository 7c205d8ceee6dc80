"""The adapter is what is trained and kept; ranking does not hang on what shares a row."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tiny_llm as tiny
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM

from lamar.errors import LamarError
from lamar.llm.checkpoints import safetensors_sha256
from lamar.params import LocalGenerator, LoraRun, Prompts, load
from lamar.rankers import attention
from lamar.rankers.kinds import KINDS
from lamar.rankers.likelihood import Case
from lamar.rankers.lora import LoraRanker
from lamar.rankers.pools import Lessons, Pool
from lamar.rankers.prompts import Catalogue
from lamar.training import fit
from lamar.training.checkpoint import Checkpoint
from lamar.training.dropout import Dropout
from lamar.training.examples import Sequences, Split

REPOSITORY = Path(__file__).parents[2]
THINGS = ["drum", "guitar", "saw", "drill", "lamp", "chair", "table", "glass", "paper", "brush"]
ITEMS = pl.DataFrame({"item": range(10), "title": THINGS, "brand": ["red", "blue"] * 5})
RUN = LoraRun(
    model="lora",
    llm="tiny",
    features="original",
    seeds=[0],
    pools_seed=0,
    prompts=Prompts(train=1, validation=1, test=1, checked=1),
    history=2,
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
    lessons = list(zip(*pools(train, seed=1), strict=True))
    return LoraRanker(folder, "tiny", run, Catalogue(ITEMS, run.attribute_words), lessons)


def moved(model: LoraRanker, far: float = 1.0) -> LoraRanker:
    """The adapter away from where it starts, which is nowhere."""
    torch.manual_seed(7)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight += far * torch.randn_like(weight)
    return model


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


def test_the_dropout_of_the_adapter_is_the_run_s(tiny_cache):
    layers = [layer for layer in ranker(tiny_cache, dropout=0.3).llm.modules() if isinstance(layer, LoraLayer)]
    assert len(layers) == 2 * 3
    for layer in layers:
        assert {type(one) for one in layer.lora_dropout.values()} == {Dropout}
        assert [one.rate for one in layer.lora_dropout.values()] == [0.3]


def test_an_adapter_can_be_taken_up_again(tiny_cache, tmp_path):
    asked, _ = pools(5, seed=3)
    model, other = moved(ranker(tiny_cache)), ranker(tiny_cache)
    assert np.abs(scored(other, asked) - scored(model, asked)).max() > 1e-2
    model.save(tmp_path)
    other.load(tmp_path)
    np.testing.assert_array_equal(scored(other, asked), scored(model, asked))


def test_an_adapter_is_one_that_peft_reads(tiny_cache, tmp_path):
    model = moved(ranker(tiny_cache))
    model.save(tmp_path)
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == "tiny"
    folder = tiny.weights_folder(tiny_cache, tiny.generator("float32"))
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folder), tmp_path).eval()
    ids = torch.arange(60, 80)[None]
    with torch.inference_mode():
        torch.testing.assert_close(theirs(ids).logits, model.eval().llm(ids).logits)


def test_an_adapter_of_another_shape_or_none(tiny_cache, tmp_path):
    model = ranker(tiny_cache, rank=4)
    with pytest.raises(LamarError, match=r"adapter_model.safetensors: no such file; run dvc repro tune"):
        model.load(tmp_path)
    ranker(tiny_cache).save(tmp_path)
    with pytest.raises(LamarError, match="settings have changed"):
        model.load(tmp_path)


@pytest.mark.parametrize("block", [attention.BLOCK, 3])  # of the attention to a question that is longer than it
def test_a_free_answer_is_what_plain_generate_writes(tiny_cache, monkeypatch, block):
    asked, _ = pools(6, seed=5)
    model = moved(ranker(tiny_cache, row_tokens=600 if block > 3 else 1)).eval()
    monkeypatch.setattr(attention, "BLOCK", block)
    with torch.inference_mode():
        written = model.written(asked)
    monkeypatch.undo()
    for (said, answers), pool in zip(written, asked, strict=True):
        assert answers == [THINGS[item] for item in pool.candidates]
        case = model._case(pool)
        limit = max(len(answer) for other in asked for answer in model._case(other).answers)
        ids = torch.tensor([list(case.question)])
        with torch.inference_mode():
            out = model.llm.generate(input_ids=ids, max_new_tokens=limit, do_sample=False, pad_token_id=0)
        assert said == model._tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)
    assert len({said for said, _ in written}) > 1


def test_a_tuning_that_was_cut_off_goes_on_exactly(tiny_cache, tmp_path):
    """Dropout draws numbers, so that these must go on, too."""
    validation = Split(*pools(10, seed=4))
    run = RUN.model_copy(update={"epochs": 3, "dropout": 0.3})
    kept = Checkpoint(tmp_path / "kept.safetensors", "same")

    def whole(checkpoint: Checkpoint | None, stop_after: int = 9) -> LoraRanker:
        def seen(epoch):
            if epoch.epoch == stop_after:
                raise KeyboardInterrupt

        model = ranker(tiny_cache, train=12, dropout=0.3)
        fit.fit(model, validation, run, run.epochs, seed=0, seen=seen, checkpoint=checkpoint)
        return model

    with pytest.raises(KeyboardInterrupt):
        whole(kept, stop_after=1)
    torch.manual_seed(99)
    resumed, at_once = whole(kept).state_dict(), whole(None).state_dict()
    assert all(torch.equal(resumed[name], at_once[name]) for name in at_once)
    assert any(weight.abs().max() > 0 for name, weight in at_once.items() if "lora_B" in name)


@pytest.mark.parametrize("cut_at", [1, 3, 5, 6, 8])
def test_a_tuning_that_was_cut_off_inside_of_an_epoch_goes_on_exactly(tiny_cache, tmp_path, monkeypatch, cut_at):
    """An LLM's only epoch may take a day. Five batches an epoch, a step after the second, the fourth and the last."""
    validation = Split(*pools(10, seed=4))
    run = RUN.model_copy(update={"epochs": 2, "dropout": 0.3, "accumulate": 2})
    kept = Checkpoint(tmp_path / "kept.safetensors", "same")
    monkeypatch.setattr(fit, "UNSAVED_WITHIN", 0.0)

    def whole(checkpoint: Checkpoint | None, cut_at: int | None = None) -> tuple[LoraRanker, list[float], int]:
        model = ranker(tiny_cache, train=18, dropout=0.3)
        loss, learned = model.loss, []

        def counted(batch):
            learned.append(batch)
            if len(learned) == cut_at:
                raise KeyboardInterrupt
            return loss(batch)

        monkeypatch.setattr(model, "loss", counted)
        curve = fit.fit(model, validation, run, run.epochs, seed=0, seen=lambda epoch: None, checkpoint=checkpoint)
        return model, [epoch.loss for epoch in curve[1:]], len(learned)

    with pytest.raises(KeyboardInterrupt):
        whole(kept, cut_at)
    torch.manual_seed(99)
    (resumed, losses, learned), (at_once, expected, every) = whole(kept), whole(None)
    assert losses == expected
    assert all(torch.equal(weight, resumed.state_dict()[name]) for name, weight in at_once.state_dict().items())
    done = {1: 0, 3: 2, 5: 4, 6: 5, 8: 7}[cut_at]  # batches before the last step
    assert (every, learned) == (10, 10 - done)


def test_every_training_pool_is_in_one_batch_of_an_epoch(tiny_cache):
    model = ranker(tiny_cache, train=11)
    batches = model.batches(np.random.default_rng(0))
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert {id(case) for batch in batches for case in batch} == {id(case) for case in model._train}


def test_the_loss_falls_and_the_ranks_get_better(tiny_cache):
    model = ranker(tiny_cache, train=80)
    validation = Split(*pools(30, seed=4))
    curve = fit.fit(model, validation, RUN, RUN.epochs, seed=0, seen=lambda epoch: None)
    losses = [epoch.loss for epoch in curve[1:]]
    assert losses[-1] < 0.6 * losses[0]
    assert max(epoch.validation for epoch in curve) > curve[0].validation + 0.03  # of 0.38 that there is to gain


def test_gradient_checkpointing_changes_no_gradient(tiny_cache):
    gradients = []
    for checkpointing in (False, True):
        model = ranker(tiny_cache, gradient_checkpointing=checkpointing).train()
        model.loss(model.batches(np.random.default_rng(0))[0]).backward()
        gradients.append(torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None]))
    torch.testing.assert_close(*gradients)
    assert gradients[0].abs().max() > 0


@pytest.mark.parametrize("rows", [1, 3])
def test_a_batch_in_parts_has_the_loss_and_the_gradients_of_the_whole(tiny_cache, rows):
    """Parts count by the tokens of their answers, whose mean the loss is."""
    model = moved(ranker(tiny_cache), far=0.1).eval()
    drawn = model.batches(np.random.default_rng(0))[0]
    batch = [Case(case.question, [list(case.answers[0]) * times]) for times, case in enumerate(drawn, start=1)]
    found = []
    for size in (None, rows):
        model.zero_grad()
        loss = fit._learn(model, batch, RUN, size)
        found.append((loss.item(), torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])))
    (whole, gradients), (summed, added) = found
    assert summed == pytest.approx(whole, rel=1e-6)
    assert (added - gradients).norm() < 2e-6 * gradients.norm()


def test_the_heaviest_prompts_are_the_longest(tiny_cache):
    model = ranker(tiny_cache)
    heaviest = [case.tokens for case in model.heaviest(3)]
    assert heaviest == sorted((case.tokens for case in model._train), reverse=True)[:3]


def test_an_llm_that_is_named_by_its_folder_ranks_alike(tiny_llm, tiny_cache, tmp_path):
    saved = shutil.copytree(tiny.weights_folder(tiny_cache, tiny_llm), tmp_path / "own-model")
    place = {"folder": str(saved), "sha256": safetensors_sha256(saved)}
    own = LocalGenerator(provider="local", model="tiny", max_tokens=16, **place)
    run, lessons = (
        RUN.model_copy(update={"epochs": 0}),
        Lessons([], Split([], np.array([])), np.array([]), np.array([])),
    )
    scored = []
    for llm in (tiny_llm, own):
        chosen = load(REPOSITORY / "params.yaml").model_copy(update={"generators": {"tiny": llm}})
        model = KINDS["lora"].learn(chosen, Sequences(None, ITEMS), run, lessons, 0, None)
        with torch.inference_mode():
            scored.append(dict(zip(*next(iter(model.scores(pools(3, seed=2)[0]))), strict=True)))
    assert scored[0].keys() == scored[1].keys() == {0, 1, 2}
    for row, scores in scored[0].items():
        np.testing.assert_array_equal(scores, scored[1][row])


def test_a_pool_that_is_longer_than_the_llm_reads_is_refused(tiny_cache):
    model = ranker(tiny_cache, train=1)
    asked, _ = pools(1, seed=2)
    case = model._case(asked[0])
    assert case.places == len(case.question) + max(map(len, case.answers))
    model.llm.config.max_position_embeddings = case.places
    assert list(model.scores(asked))
    model.llm.config.max_position_embeddings = case.places - 1
    with pytest.raises(LamarError, match=f"a pool of 4 candidates takes {case.places} tokens, of which the LLM reads"):
        list(model.scores(asked))
