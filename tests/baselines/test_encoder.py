"""The shared encoder computes what PyTorch's own pre-norm encoder computes."""

import pytest
import torch
from torch import nn

from lamar.baselines.encoder import Encoder, sight


def reference(encoder: Encoder, hidden: int, heads: int) -> nn.TransformerEncoder:
    """PyTorch's encoder with the same weights."""
    layer = nn.TransformerEncoderLayer(
        hidden, heads, 4 * hidden, 0.0, activation="gelu", batch_first=True, norm_first=True
    )
    theirs = nn.TransformerEncoder(layer, len(encoder.layers), nn.LayerNorm(hidden), enable_nested_tensor=False)
    names = {
        "attention_norm": "norm1",
        "attention_output": "self_attn.out_proj",
        "network_norm": "norm2",
        "intermediate": "linear1",
        "output": "linear2",
    }
    weights = {}
    for name, tensor in encoder.state_dict().items():
        for ours, their in names.items():
            name = name.replace(f".{ours}.", f".{their}.")
        weights[name.replace("query_key_value.", "self_attn.in_proj_")] = tensor
    theirs.load_state_dict(weights)
    return theirs.eval()


@pytest.mark.parametrize("causal", [True, False])
@torch.no_grad()
def test_it_agrees_with_pytorch(causal: bool) -> None:
    torch.manual_seed(0)
    encoder = Encoder(32, 3, 4, 0.1, causal=causal).eval()
    states = torch.randn(5, 9, 32)
    real = torch.arange(9) >= torch.tensor([0, 1, 4, 8, 9])[:, None]  # padded on the left, the last one all of it
    mask = ~sight(real, causal)[:, 0]
    theirs = reference(encoder, 32, 4)(states, mask=mask.repeat_interleave(4, dim=0))
    torch.testing.assert_close(encoder(states, real), theirs, rtol=1e-5, atol=1e-5)


def test_dropout_is_for_training() -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, 1, 2, 0.5, causal=False)
    states, real = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    assert not torch.equal(encoder(states, real), encoder(states, real))
    assert torch.equal(encoder.eval()(states, real), encoder(states, real))
