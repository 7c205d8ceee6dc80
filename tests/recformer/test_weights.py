"""A Recformer that starts from an encoder computes what transformers computes with the same weights."""

import json

import pytest
import torch
from encoders import KINDS, difference, encoder, saved, tokens
from safetensors.torch import load_file, save_file

from lamar.errors import LamarError
from lamar.recformer.weights import from_encoder, shape_of
from lamar.text.tokens import PAD

LAYERS = 3


def started(folder, layers=LAYERS, pooling="cls"):
    return from_encoder(folder, shape_of(folder, layers, 9, window=32, dropout=0.1, pooling=pooling)).eval()


def attention_mask(batch):
    return batch.layout.real.long()


def pooled(hidden, batch, pooling):
    """What stands for a sequence, from all its hidden states."""
    if pooling == "cls":
        return hidden[:, 0]
    return torch.stack([row[:length].mean(0) for row, length in zip(hidden, batch.layout.lengths, strict=True)])


def longformer_states(model, ours, batch):
    """Longformer's hidden states with a global CLS, given our sum of word, type and item position."""
    embeddings = ours.embeddings
    given = embeddings.word(batch.ids) + embeddings.token_type(batch.types) + embeddings.item_position(batch.items)
    seen_by_all = torch.zeros_like(batch.ids)
    seen_by_all[:, 0] = 1
    mask = attention_mask(batch)
    return model(inputs_embeds=given, attention_mask=mask, global_attention_mask=seen_by_all).last_hidden_state


LENGTHS = [[1], [2], [33], [64], [65], [200], [1, 40, 131], [64, 250, 7, 128]]


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("lengths", LENGTHS, ids=str)
@torch.no_grad()
def test_longformer_with_its_own_global_projections(tmp_path, lengths, pooling):
    theirs = saved(tmp_path, "longformer")
    ours = started(tmp_path, pooling=pooling)
    for table in (ours.embeddings.token_type, ours.embeddings.item_position):
        table.weight.normal_()
    theirs.embeddings.token_type_embeddings.weight.zero_()  # ours are in what it is given
    batch = tokens(lengths)
    expected = pooled(longformer_states(theirs, ours, batch), batch, pooling)
    assert difference(ours(batch), expected) < 1e-5


@pytest.mark.parametrize("lengths", [[33], [97], [130, 1, 64], [64, 250, 7, 128]], ids=str)
@torch.no_grad()
def test_every_hidden_state_of_longformer(tmp_path, lengths):
    theirs = saved(tmp_path, "longformer", num_hidden_layers=4)
    ours = started(tmp_path, layers=4)
    theirs.embeddings.token_type_embeddings.weight.zero_()
    batch = tokens(lengths)
    expected = longformer_states(theirs, ours, batch)
    real = attention_mask(batch).bool()
    assert difference(ours.states(batch)[real], expected[real]) < 1e-5


@torch.no_grad()
def test_longformer_of_another_window_differs(tmp_path):
    theirs = saved(tmp_path, "longformer", attention_window=60)
    ours = started(tmp_path)
    theirs.embeddings.token_type_embeddings.weight.zero_()
    batch = tokens([200])
    assert difference(ours(batch), longformer_states(theirs, ours, batch)[:, 0]) > 1e-4


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("kind", ["bert", "roberta"])
@torch.no_grad()
def test_text_shorter_than_the_window_is_read_as_the_encoder_reads_it(tmp_path, kind, pooling):
    theirs = saved(tmp_path, kind)
    batch = tokens([33, 1, 20])
    hidden = theirs(batch.ids, attention_mask=attention_mask(batch)).last_hidden_state
    assert difference(started(tmp_path, pooling=pooling)(batch), pooled(hidden, batch, pooling)) < 1e-5


@torch.no_grad()
def test_the_first_layers_alone(tmp_path):
    theirs = saved(tmp_path, "bert")
    batch = tokens([30])
    expected = theirs(batch.ids, output_hidden_states=True).hidden_states[2][:, 0]
    assert difference(started(tmp_path, layers=2)(batch), expected) < 1e-5


@pytest.mark.parametrize("prefix", KINDS)
def test_weights_of_a_model_with_a_head(tmp_path, prefix):
    saved(tmp_path, prefix)
    plain = started(tmp_path).state_dict()
    file = tmp_path / "model.safetensors"
    renamed = {f"{prefix}.{name}": tensor for name, tensor in load_file(file).items()}
    save_file(renamed | {"cls.bias": torch.zeros(2)}, file)
    assert all(torch.equal(tensor, plain[name]) for name, tensor in started(tmp_path).state_dict().items())


def test_what_an_encoder_does_not_have_starts_neutral(tmp_path):
    saved(tmp_path, "roberta")
    embeddings = started(tmp_path).embeddings
    assert not embeddings.item_position.weight.any()
    assert len(embeddings.token_type.weight.unique(dim=0)) == 1
    assert len(embeddings.token_type.weight) == PAD + 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_hidden_layers": 2}, "params.yaml: layers: 3, but .* has 2"),
        ({"model_type": "gpt2"}, "config.json: model_type gpt2: use one of bert, roberta, xlm-roberta, longformer"),
        ({"hidden_act": "relu"}, "config.json: hidden_act relu: use an encoder with gelu"),
    ],
)
def test_an_encoder_that_cannot_be_used(tmp_path, config, message):
    encoder("bert").config.save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    with pytest.raises(LamarError, match=message):
        started(tmp_path)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(LamarError, match="config.json: no such file; run"):
        started(tmp_path)
    saved(tmp_path, "bert")
    weights = load_file(tmp_path / "model.safetensors")
    del weights["encoder.layer.1.output.dense.bias"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(LamarError, match=r"model\.safetensors: no weight 'encoder\.layer\.1\.output\.dense\.bias'"):
        started(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(LamarError, match=r"model\.safetensors: no such file; run dvc repro backbone"):
        started(tmp_path)


def published(folder, item_positions=51):
    """A checkpoint as Recformer's authors save it: a Longformer with four token types and item positions, and more."""
    theirs = saved(folder, "longformer", type_vocab_size=4)
    named = {f"longformer.{name}": tensor for name, tensor in load_file(folder / "model.safetensors").items()}
    (folder / "model.safetensors").unlink()
    torch.manual_seed(3)
    named["longformer.embeddings.item_position_embeddings.weight"] = torch.randn(item_positions, 32)
    named["item_embedding.weight"] = torch.randn(7, 32)
    torch.save(named, folder / "recformer_seqrec_ckpt.bin")
    return theirs, named


@torch.no_grad()
def test_a_published_recformer(tmp_path, capsys):
    theirs, named = published(tmp_path)
    ours = from_encoder(tmp_path, shape_of(tmp_path, LAYERS, 50, window=32, dropout=0.1, pooling="cls")).eval()
    assert "not used: item_embedding" in " ".join(capsys.readouterr().err.split())
    batch = tokens([1, 40, 131])
    items = named["longformer.embeddings.item_position_embeddings.weight"][batch.items]
    given = theirs.embeddings.word_embeddings(batch.ids) + items
    seen_by_all = torch.zeros_like(batch.ids)
    seen_by_all[:, 0] = 1
    expected = theirs(
        inputs_embeds=given,
        token_type_ids=batch.types,
        attention_mask=attention_mask(batch),
        global_attention_mask=seen_by_all,
    ).last_hidden_state[:, 0]
    assert difference(ours(batch), expected) < 1e-5


def test_more_item_positions_than_the_checkpoint_has_start_neutral(tmp_path):
    _, named = published(tmp_path)
    table = started_with(tmp_path, items=80).embeddings.item_position.weight
    assert torch.equal(table[:51], named["longformer.embeddings.item_position_embeddings.weight"])
    assert not table[51:].any()


def started_with(folder, items):
    return from_encoder(folder, shape_of(folder, LAYERS, items, window=32, dropout=0.1, pooling="cls"))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_one_of_ours(tmp_path, kind):
    saved(tmp_path, kind)
    ours = started(tmp_path)
    for weight in ours.parameters():
        weight += 0.1 * torch.randn_like(weight)
    save_file(ours.state_dict(), tmp_path / "model.safetensors")
    batch = tokens([1, 40, 131])
    assert torch.equal(started(tmp_path)(batch), ours(batch))


@torch.no_grad()
def test_a_fine_tuned_one_of_ours_with_more_item_positions(tmp_path, capsys):
    saved(tmp_path, "bert")
    ours = started(tmp_path)
    ours.embeddings.item_position.weight.normal_()
    tuned = {f"model.{name}": tensor for name, tensor in ours.state_dict().items()} | {"items": torch.zeros(7, 32)}
    save_file(tuned, tmp_path / "model.safetensors")
    table = started_with(tmp_path, items=20).embeddings.item_position.weight
    assert torch.equal(table[:10], ours.embeddings.item_position.weight)
    assert not table[10:].any()
    assert "not used: items" in " ".join(capsys.readouterr().err.split())


class Trap:
    """What a pickle could do to who opens it."""

    def __reduce__(self):
        return print, ("opened",)


def test_a_file_with_more_than_weights_is_not_opened(tmp_path, capsys):
    encoder("bert").config.save_pretrained(tmp_path)
    torch.save({"x": Trap()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(LamarError, match="pytorch_model.bin: holds more than weights, which is not opened"):
        started(tmp_path)
    assert "opened" not in capsys.readouterr().out


def test_weights_of_another_size_than_the_config(tmp_path):
    saved(tmp_path, "bert")
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 91}))
    with pytest.raises(LamarError, match=r"model.safetensors: does not fit .*config.json \(size mismatch"):
        started(tmp_path)
