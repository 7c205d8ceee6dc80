"""A causal LM as transformers reads it from a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def load_causal_lm(folder: Path, **options: Any) -> Any:
    """The LLM in a folder, in the precision that its weights have; options: of transformers' `from_pretrained`.

    From then on this process attends without cuDNN, which on a GPU makes a plan for every length that it has not met:
    an LLM that answers is longer by one with every token. What is left needs no plans.
    """
    import torch
    from transformers import AutoModelForCausalLM

    torch.backends.cuda.enable_cudnn_sdp(False)
    return AutoModelForCausalLM.from_pretrained(folder, dtype="auto", **options)
