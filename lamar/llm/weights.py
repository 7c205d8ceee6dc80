"""Weights of a local LLM: one GGUF file, dequantised once into a safetensors folder that loads in seconds.

transformers dequantises a GGUF file at every load (30 s for 1.5B parameters); the folder written here loads
in about one second, memory-mapped. The weights are stored as bfloat16.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path


def dequantise(gguf: Path, folder: Path) -> Path:
    """Write the model and tokenizer in `gguf` to `folder` as bfloat16 safetensors; done once, whole or not at all.

    Returns `folder`, which `transformers.AutoModelForCausalLM.from_pretrained` loads.
    """
    if folder.exists():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    model.hf_quantizer = None  # the weights are plain now: save them as such
    model.config.__dict__.pop("quantization_config", None)
    folder.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        model.save_pretrained(unfinished)
        AutoTokenizer.from_pretrained(**source).save_pretrained(unfinished)
        unfinished.chmod(0o755)  # mkdtemp makes it private
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder
