"""Recformer (Li et al. 2023): a text encoder that reads a history of items as one sequence of tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from lamar.errors import LamarError
from lamar.recformer.attention import Attention, Layout
from lamar.recformer.config import Shape
from lamar.recformer.reading import TextBatch
from lamar.text.tokens import PAD
from lamar.training.dropout import Dropout


class Embeddings(nn.Module):
    """A token is its word, its place, its type (CLS, key, value) and the place of its item (Recformer, Eq. 2)."""

    def __init__(self, shape: Shape) -> None:
        """Four tables of width `shape.hidden`."""
        super().__init__()
        self.first_position = shape.first_position
        self.word = nn.Embedding(shape.vocabulary, shape.hidden)
        self.position = nn.Embedding(shape.positions, shape.hidden)
        self.token_type = nn.Embedding(PAD + 1, shape.hidden)
        self.item_position = nn.Embedding(shape.max_items + 1, shape.hidden)
        self.norm = nn.LayerNorm(shape.hidden, shape.layer_norm_eps)
        self.dropout = Dropout(shape.dropout)

    def forward(self, text: TextBatch) -> Tensor:
        """Tokens as they lie -> (..., hidden)."""
        places = self.position(text.layout.places + self.first_position)
        summed = self.word(text.ids) + places + self.token_type(text.types) + self.item_position(text.items)
        return as_read(self.dropout(self.norm(summed)))


class Layer(nn.Module):
    """A post-norm Transformer layer."""

    def __init__(self, shape: Shape) -> None:
        """Attention and a two-layer network, each followed by dropout, a residual sum and a norm."""
        super().__init__()
        self.attention = Attention(shape.hidden, shape.heads, shape.dropout)
        self.attention_output = nn.Linear(shape.hidden, shape.hidden)
        self.attention_norm = nn.LayerNorm(shape.hidden, shape.layer_norm_eps)
        self.intermediate = nn.Linear(shape.hidden, shape.intermediate)
        self.output = nn.Linear(shape.intermediate, shape.hidden)
        self.output_norm = nn.LayerNorm(shape.hidden, shape.layer_norm_eps)
        self.dropout = Dropout(shape.dropout)

    def forward(self, tokens: Tensor, layout: Layout, only_cls: bool = False) -> Tensor:
        """Tokens as they lie, (..., hidden) -> the same shape; `only_cls`: CLS's rows of it alone, (users, hidden).

        A flag and no method of its own, because PyTorch compiles `forward` alone.
        """
        if only_cls:
            return self._after(layout.first(tokens), self.attention.of_cls(tokens, layout))
        return as_read(self._after(tokens, self.attention(tokens, layout)))

    def _after(self, tokens: Tensor, attended: Tensor) -> Tensor:
        tokens = as_read(self.attention_norm(tokens + self.dropout(self.attention_output(attended))))
        inner = functional.gelu(self.intermediate(tokens))
        return self.output_norm(tokens + self.dropout(self.output(inner)))


def as_read(states: Tensor) -> Tensor:
    """States as they lie until they are read: on a GPU in the precision of the matrix products that read them.

    There moving them takes more time than computing them; what is added to them later has been rounded, too. A CPU
    gains nothing: they stay float32.
    """
    if states.is_cuda and torch.is_autocast_enabled("cuda"):
        return states.to(torch.get_autocast_dtype("cuda"))
    return states


class Recformer(nn.Module):
    """Token sequences -> one vector that stands for the user, or for an item read alone.

    `pooling` cls: the last hidden state of CLS, as published; mean: the mean of the last hidden states, for encoders
    that were trained so. Both are choices of the published code.
    """

    def __init__(self, shape: Shape) -> None:
        """Random weights; `lamar.recformer.weights` loads those of a text encoder."""
        super().__init__()
        self.shape = shape
        self.frozen_layers = 0
        self.embeddings = Embeddings(shape)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))

    def forward(self, text: TextBatch) -> Tensor:
        """A batch of histories -> (users, hidden)."""
        return self.above(self.below(text, 0), text.layout, 0)

    def states(self, text: TextBatch) -> Tensor:
        """The last hidden states of all tokens, (..., hidden)."""
        return self.below(text, len(self.layers))

    def below(self, text: TextBatch, layers: int) -> Tensor:
        """The hidden states after the embeddings and the first `layers` layers, (..., hidden)."""
        tokens = self.embeddings(text)
        for layer in self.layers[:layers]:
            tokens = layer(tokens, text.layout)
        return tokens

    def above(self, tokens: Tensor, layout: Layout, layers: int) -> Tensor:
        """The rest of `forward`: what `below` gives for as many layers, (..., hidden) -> (users, hidden)."""
        *between, last = self.layers[layers:]
        for layer in between:
            tokens = layer(tokens, layout)
        if self.shape.pooling == "cls":  # nothing reads the last layer's other rows
            return last(tokens, layout, only_cls=True)
        return layout.mean(last(tokens, layout))

    def compile_layers(self) -> None:
        """Let PyTorch compile the layers, once for all of them and for batches of any size."""
        for layer in self.layers:
            layer.compile(dynamic=True)

    def freeze(self, layers: int) -> None:
        """Train neither the embeddings nor the first `layers` layers; 0 trains everything.

        Raises LamarError when nothing is left to train.
        """
        if layers >= len(self.layers):
            raise LamarError(f"params.yaml: frozen_layers: {layers} of {len(self.layers)}; leave a layer to train")
        self.frozen_layers = layers
        for part in [self.embeddings, *self.layers[:layers]] if layers else []:
            part.requires_grad_(False)
