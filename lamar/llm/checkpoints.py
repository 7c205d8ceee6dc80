"""Weights of a local LLM as transformers saves them: a folder on this machine, or a repository of the model hub.

They are known by the sha256 of their safetensors files, one after the other in the order of their names: what
`cat *.safetensors | sha256sum` prints, and of a single file what the hub shows.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from lamar.errors import LamarError
from lamar.files import CHUNK

NEEDED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]  # weights, settings, tokenizer
LEFT_OUT = ["*/*", "consolidated*"]  # the same weights once more, for other programs


def safetensors_sha256(folder: Path) -> str:
    """Hex sha256 of a folder's weights. Raises LamarError when it has none."""
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise LamarError(f"{folder}: no .safetensors files; save the model there with transformers' save_pretrained")
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    return digest.hexdigest()


def checked(folder: Path, sha256: str, model: str) -> Path:
    """`folder`, if it holds the weights that params.yaml names and what else is needed to chat with them.

    Raises LamarError otherwise.
    """
    if not (folder / "config.json").is_file():
        raise LamarError(f"{folder}/config.json: no such file; a model's folder is what save_pretrained writes")
    found = safetensors_sha256(folder)
    if not sha256:
        raise LamarError(f"params.yaml: {model} has no sha256; that of what is in {folder} is {found}")
    if found != sha256:
        raise LamarError(f"{folder}: its weights have sha256 {found}, but params.yaml names {sha256}; correct either")
    settings = folder / "tokenizer_config.json"
    own_file = (folder / "chat_template.jinja").is_file()
    if not own_file and not (settings.is_file() and '"chat_template"' in settings.read_text(encoding="utf-8")):
        raise LamarError(f"{folder}: {model} has no chat template; take a model that is tuned to follow instructions")
    return folder


def download(repository: str, folder: Path) -> None:
    """Bring a repository of the hub (org/name) to `folder`; what is there already is not fetched again.

    Raises LamarError when the hub does not give it.
    """
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(repository, local_dir=folder, allow_patterns=NEEDED, ignore_patterns=LEFT_OUT)
    except Exception as error:  # the hub's own, httpx's, the system's
        reason = " ".join(str(error).split())[:200]
        raise LamarError(
            f"hub {repository}: not to be had ({type(error).__name__}: {reason}); "
            "name its files on this machine instead, with folder: PATH"
        ) from None
