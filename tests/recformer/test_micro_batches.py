"""Batches learned in parts have the gradients they have at once; a part is as large as memory allows."""

import numpy as np
import pytest
import torch
from encoders import recformer
from pydantic import ValidationError
from test_recommender import TITLES, VOCABULARY, cycles, recommender, settings, split_of, tokenizer

from lamar.errors import LamarError
from lamar.params import RecformerRun, SasrecRun, load
from lamar.recformer.recommender import RecformerRecommender
from lamar.text.tokens import tokenise
from lamar.training import fit
from lamar.training.micro_batch import largest

NO_MEMORY = "CUDA out of memory. Tried to allocate 20.00 GiB."  # as PyTorch says it


def learned(model: RecformerRecommender, rows: int | None) -> tuple[float, torch.Tensor]:
    """The loss of a batch of 16 histories of different lengths, and all gradients."""
    torch.manual_seed(1)  # of the sampled items
    batch = model.batches(np.random.default_rng(0))[0]
    assert len(batch.targets) == 16
    model.zero_grad()
    loss = fit._learn(model, batch, settings(accumulate=2), rows)
    return loss.item(), torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


@pytest.mark.parametrize("negatives", [0, 5])
@pytest.mark.parametrize("rows", [1, 3, 8, 16])
def test_parts_have_the_loss_and_the_gradients_of_the_batch(rows, negatives):
    model = recommender(cycles(30), negatives=negatives).train()
    with torch.no_grad():
        model.renew()
    loss, gradients = learned(model, None)
    in_parts, summed = learned(model, rows)
    assert in_parts == pytest.approx(loss, rel=1e-6)
    assert (summed - gradients).norm() < 5e-6 * gradients.norm()  # rounding, which sampled items make 1.3e-6
    assert gradients.abs().max() > 0.01


class Cramped(RecformerRecommender):
    """Has the memory to learn from so many histories at once, and says it as PyTorch does on a GPU."""

    room = 6

    def loss(self, batch):
        self.sizes.append(len(batch.targets))
        if len(batch.targets) > self.room:
            raise torch.OutOfMemoryError(NO_MEMORY)
        return super().loss(batch)


def trained(room: int, **changes) -> tuple[Cramped, list[fit.Epoch]]:
    sequences = cycles(20)
    torch.manual_seed(0)
    model = Cramped(
        recformer(vocabulary=len(VOCABULARY), positions=80), tokenise(TITLES, tokenizer(), 32), sequences,
        cls=1, max_tokens=64, batch=16, positions_per_user=1, negatives=4,
    )  # fmt: skip
    model.room, model.sizes = room, []
    run = settings(**changes)
    return model, fit.fit(model, split_of(sequences), run, 2, seed=0, seen=lambda epoch: None)


def test_auto_takes_the_largest_power_of_two_that_fits(capsys):
    whole, expected = trained(room=16)
    model, curve = trained(room=6, micro_batch="auto")
    assert model.sizes[:4] == [16, 8, 4, 4]  # tried, the last one with the gradients of another beside it
    assert model.sizes[4:] == [4] * 5 * 2  # batches of 16 and of 4 users, in two epochs
    assert "micro_batch: 4 of 16 rows at once" in capsys.readouterr().err
    assert [epoch.loss for epoch in curve[1:]] == pytest.approx([epoch.loss for epoch in expected[1:]], rel=1e-5)
    for name, weight in model.state_dict().items():
        torch.testing.assert_close(weight, whole.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)


def test_where_all_fits_auto_leaves_no_trace():
    """The random numbers, too, are those of a run that tried nothing."""
    whole, _ = trained(room=16)
    model, _ = trained(room=16, micro_batch="auto")
    assert model.sizes == [16, 16, *whole.sizes]
    assert all(torch.equal(weight, whole.state_dict()[name]) for name, weight in model.state_dict().items())


def test_a_number_is_taken_as_it_is():
    model, _ = trained(room=16, micro_batch=5)
    assert sorted(model.sizes) == sorted([5, 5, 5, 1, 4] * 2)


def test_not_even_one_row_fits():
    with pytest.raises(LamarError, match="not even one row fits"):
        trained(room=0, micro_batch="auto")


def test_another_error_is_no_lack_of_memory():
    def attempt(rows):
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        largest(attempt, 12)


def test_the_heaviest_rows_are_the_longest_histories():
    sequences = [np.arange(length) for length in (2, 9, 4, 7, 3)]
    model = recommender(sequences)
    assert [len(history) for history in model.heaviest(2).histories] == [9, 7]
    assert model.heaviest(2).targets.shape == (2, 3)
    assert len(model.heaviest(8).histories) == 8  # more than there are users


def test_models_whose_batches_cannot_be_divided_have_no_such_setting():
    chosen = load().runs
    run = chosen["recformer-original"].model_dump()
    assert run["micro_batch"] is None
    assert RecformerRun.model_validate(run | {"micro_batch": "auto"}).micro_batch == "auto"
    for wrong in (0, "many"):
        with pytest.raises(ValidationError, match="micro_batch"):
            RecformerRun.model_validate(run | {"micro_batch": wrong})
    with pytest.raises(ValidationError, match="micro_batch"):
        SasrecRun.model_validate(chosen["sasrec"].model_dump() | {"micro_batch": 4})
