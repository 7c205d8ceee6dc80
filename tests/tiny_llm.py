"""A tiny real LLM, for the tests that ask one: random weights, the real road through transformers."""

from __future__ import annotations

import hashlib
from pathlib import Path

from lamar.params import LocalGenerator

TEXT = """
Input Output : . , write what it is for a an the of and to in with on by one two three four red blue green small large
old new wooden steel drum guitar brush paper glass saw drill lamp chair table garden kitchen school music paint cut
hold mix play draw build clean carry warm cold quiet loud soft hard fast slow day night home work friend child hand
Title Genre Brand user assistant
"""
WORDS = TEXT.split()
MARKS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }} {{ message['content'] }}<|im_end|>{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)
STOPS = range(40, 56)  # an answer ends with one of these tokens, too: some answers are short, some never end


def generator(dtype: str) -> LocalGenerator:
    """Its entry in params.yaml; no source gives its weights, they must be in the cache."""
    return LocalGenerator(
        provider="local",
        model=f"tiny-{dtype}",
        file="tiny.gguf",
        sha256=hashlib.sha256(dtype.encode()).hexdigest(),
        sources=[{"mirror": "nowhere", "files": ["tiny.gguf"]}],
        max_tokens=16,
    )


def weights_folder(cache: Path, llm: LocalGenerator) -> Path:
    """Where the dequantised weights are kept."""
    return cache / llm.sha256[:16] / "bfloat16"


def write_weights(cache: Path) -> None:
    """Put the model into a LAMAR_CACHE, as float32 and as bfloat16."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    tokenizer = _tokenizer()
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.3,  # large: what is said then hangs on every token that was read, and on its place
    )
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(config)
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, *STOPS]
    for dtype in ("float32", "bfloat16"):
        folder = weights_folder(cache, generator(dtype))
        model.to(getattr(torch, dtype)).save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _tokenizer():  # noqa: ANN202
    """Byte pairs like Qwen's, learned from WORDS."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.BPE())
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    pieces.train_from_iterator([" ".join(WORDS)], trainers.BpeTrainer(vocab_size=600, special_tokens=MARKS))
    return PreTrainedTokenizerFast(tokenizer_object=pieces, eos_token=MARKS[-1], chat_template=CHAT_TEMPLATE)
