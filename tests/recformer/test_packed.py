"""Packed histories and their kernels compute what padded ones do: here in Triton's interpreter, on a GPU there."""

from dataclasses import fields, replace

import pytest
import torch
import triton
import triton.language as tl
from encoders import difference, packed, recformer, tokens

from lamar.errors import LamarError
from lamar.recformer.kernels import _kept
from lamar.recformer.packed import Packed, attend, pool_of_cls
from lamar.recformer.reading import TextBatch

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LENGTHS = [[1], [2, 1, 3], [33], [64], [65], [97, 1, 66], [130, 5, 200]]
RATE = 0.3


def there(text: TextBatch) -> TextBatch:
    """A batch on the device that the kernels run on."""
    layout = text.layout
    moved = {field.name: getattr(layout, field.name) for field in fields(layout)}
    moved = {name: value.to(DEVICE) for name, value in moved.items() if torch.is_tensor(value)}
    tables = (getattr(text, name).to(DEVICE) for name in ("ids", "types", "items", "starts"))
    return TextBatch(*tables, replace(layout, **moved))


def of_users(lengths: list[int]) -> Packed:
    """How their tokens lie."""
    return packed(there(tokens(lengths))).layout


@pytest.mark.parametrize("window", [5, 32])
@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@torch.no_grad()
def test_packed_is_padded(lengths, pooling, window):
    model = recformer(pooling=pooling).to(DEVICE)
    text = there(tokens(lengths, window=window))
    assert difference(model(packed(text)), model(text)) < 1e-5


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("lengths", [[1], [70, 1, 33]], ids=str)
def test_gradients_of_packed_are_those_of_padded(lengths, pooling):
    model = recformer(pooling=pooling, heads=2).to(DEVICE)
    text, slope = there(tokens(lengths)), torch.randn(len(lengths), 32, device=DEVICE)
    found = []
    for batch in (text, packed(text)):
        model.zero_grad()
        (model(batch) * slope).sum().backward()
        found.append({name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None})
    expected, ours = found
    largest = max(gradient.abs().max() for gradient in expected.values())
    for name, gradient in expected.items():
        assert (ours[name] - gradient).abs().max() < 1e-5 * largest, name


@triton.jit
def _write_kept(numbers, seed, rate, kept, COUNT: tl.constexpr):
    places = tl.program_id(0) * COUNT + tl.arange(0, COUNT)
    tl.store(kept + places, _kept(tl.load(seed), tl.load(numbers + places), rate).to(tl.int32))


def kept(numbers: torch.Tensor, seed: torch.Tensor) -> torch.Tensor:
    """What dropout keeps of elements with these numbers: as floats, scaled."""
    flat = torch.nn.functional.pad(numbers.int().flatten(), (0, -numbers.numel() % 256))
    found = torch.empty_like(flat)
    _write_kept[(len(flat) // 256,)](flat, seed, RATE, found, COUNT=256)
    return found[: numbers.numel()].view(numbers.shape) / (1 - RATE)


def seed(number: int) -> torch.Tensor:
    return torch.tensor([number], dtype=torch.int32, device=DEVICE)


def test_dropout_keeps_its_share_and_no_pattern():
    numbers = torch.arange(2**18, device=DEVICE)
    first, second = (kept(numbers, seed(number)) > 0 for number in (1, 2))
    for share, expected in (
        (first, 1 - RATE),
        (first & second, (1 - RATE) ** 2),  # other seeds
        (first[1:] & first[:-1], (1 - RATE) ** 2),  # neighbours
        (first[66:] & first[:-66], (1 - RATE) ** 2),  # tokens with windows of 32
    ):
        assert share.float().mean().item() == pytest.approx(expected, abs=5e-3)


def test_attention_drops_probabilities_and_its_gradient_the_same():
    layout = of_users([70, 1, 33])
    torch.manual_seed(0)
    count, heads, size = len(layout.firsts), 2, 16
    qkv = torch.randn(count, 3, heads, size, device=DEVICE, requires_grad=True)
    cls = torch.randn(3, heads * size, device=DEVICE, requires_grad=True)
    slope = torch.randn(count, heads * size, device=DEVICE)
    out, _ = attend(qkv, cls, layout.firsts, layout.lasts, layout.starts, layout.lengths, seed(5), 32, RATE)
    ours = torch.autograd.grad((out * slope).sum(), (qkv, cls))

    places = torch.arange(count, device=DEVICE)
    own = layout.firsts[:, None] == layout.firsts[None, :]
    is_cls = layout.firsts == places
    near = own & ((places[:, None] - places[None, :]).abs() <= 32) & ~is_cls[None, :]
    to_cls = own & is_cls[None, :]
    query, key, value = qkv.unbind(1)
    scores = torch.einsum("ths,uhs->htu", query, key) / size**0.5
    weights = scores.masked_fill(~(near | to_cls), float("-inf")).softmax(-1)
    first_number = (places[None, :] * heads + torch.arange(heads, device=DEVICE)[:, None]) * 66
    slot = torch.where(to_cls, 65, (places[None, :] - places[:, None] + 32).clamp(0, 64))
    dropped = weights * kept(first_number[:, :, None] + slot[None], seed(5))
    explicit = torch.einsum("htu,uhs->ths", dropped, value).reshape(count, -1)
    explicit = torch.where(is_cls[:, None], 0.0, explicit).index_add(0, layout.starts.long(), cls)
    assert difference(out, explicit) < 1e-5
    for found, expected in zip(ours, torch.autograd.grad((explicit * slope).sum(), (qkv, cls)), strict=True):
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


def test_the_attention_of_cls_drops_probabilities_and_its_gradient_the_same():
    layout = of_users([70, 1, 33])
    torch.manual_seed(0)
    count, heads, width = len(layout.firsts), 3, 24
    states = torch.randn(count, width, device=DEVICE, requires_grad=True)
    folded = torch.randn(3, heads, width, device=DEVICE, requires_grad=True)
    slope, of_sum = torch.randn(3, heads, width, device=DEVICE), torch.randn(3, heads, device=DEVICE)
    pooled, total, *_ = pool_of_cls(states, folded, layout.starts, layout.lengths, seed(7), RATE)
    ours = torch.autograd.grad((pooled * slope).sum() + (total * of_sum).sum(), (states, folded))

    explicit = 0.0
    for user, (start, length) in enumerate(zip(layout.starts.tolist(), layout.lengths.tolist(), strict=True)):
        mine = states[start : start + length]
        weights = (mine @ folded[user].T).softmax(0)
        numbers = (start + torch.arange(length, device=DEVICE))[:, None] * heads + torch.arange(heads, device=DEVICE)
        weights = weights * kept(numbers, seed(7))
        mean = weights.T @ mine
        assert (pooled[user] - mean).abs().max() < 1e-5
        assert (total[user] - weights.sum(0)).abs().max() < 1e-5
        explicit = explicit + (mean * slope[user]).sum() + (weights.sum(0) * of_sum[user]).sum()
    for found, expected in zip(ours, torch.autograd.grad(explicit, (states, folded)), strict=True):
        assert (found - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.skipif(DEVICE.type == "cpu", reason="Triton's interpreter multiplies the bits of bfloat16 as integers")
def test_bfloat16_is_as_near_to_float32_packed_as_padded():
    model, text = recformer().to(DEVICE), there(tokens([70, 1, 33]))
    exact = model(text)
    with torch.autocast(DEVICE.type, torch.bfloat16):
        padded, ours = model(text), model(packed(text))
    assert difference(ours, exact) < 1.5 * difference(padded, exact) + 1e-3


def test_a_batch_that_32_bits_do_not_count_is_refused(monkeypatch):
    monkeypatch.setattr("lamar.recformer.packed.MOST", 1000)
    with pytest.raises(LamarError, match="a batch of 104 tokens is more than the GPU's kernels count: set micro_batch"):
        recformer().to(DEVICE)(packed(there(tokens([70, 1, 33]))))
