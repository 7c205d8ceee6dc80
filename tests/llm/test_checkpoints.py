"""Local LLMs that are named by a folder or by a repository of the hub, with the tiny LLM's own weights."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub_server import hub
from tiny_llm import WORDS
from tiny_llm import weights_folder as tiny_folder

from lamar.errors import LamarError
from lamar.llm.checkpoints import checked, safetensors_sha256
from lamar.llm.local import LocalModel, cache_folder, identity, weights_folder
from lamar.params import LocalGenerator

SHARED = "write what it is for . Input : Title two small drum Output : play music at home . Input :"
ITEMS = [WORDS[start : start + 2 * start] for start in range(3, 15)]
ASKED = [({"role": "user", "content": f"{SHARED} {' '.join(item)}"},) for item in ITEMS]
REPOSITORY = "org/tiny"
LOAD = """
import sys
from lamar.console import user_errors
from lamar.llm.local import weights_folder
from lamar.params import LocalGenerator
generator = LocalGenerator(provider="local", model="tiny", hub=sys.argv[1], sha256=sys.argv[2], max_tokens=16)
user_errors(lambda: print(weights_folder(generator)))()
"""


@pytest.fixture
def copied(tiny_llm: LocalGenerator, tmp_path: Path) -> Path:
    """The tiny LLM, saved somewhere else than in the cache."""
    return shutil.copytree(tiny_folder(cache_folder(), tiny_llm), tmp_path / "own-model")


def named(llm: LocalGenerator, **place: str) -> LocalGenerator:
    """The tiny LLM named by another place of its weights."""
    return LocalGenerator(provider="local", model=llm.model, max_tokens=llm.max_tokens, **place)


def said(llm: LocalGenerator) -> list[str]:
    return [answer.text for answers in LocalModel(llm, len(ASKED)).ask(ASKED) for answer in answers]


def test_a_folder_answers_as_the_same_weights_from_a_gguf_file(tiny_llm: LocalGenerator, copied: Path) -> None:
    own = named(tiny_llm, folder=str(copied), sha256=safetensors_sha256(copied))
    assert said(own) == said(tiny_llm)
    assert len(set(said(own))) > 1
    assert identity(own) == identity(tiny_llm) | {"weights": safetensors_sha256(copied)}


def test_the_key_of_a_gguf_file_is_what_it_always_was(tiny_llm: LocalGenerator) -> None:
    known = {"provider": "local", "weights": tiny_llm.sha256, "max_tokens": 16, "decoding": "greedy"}
    assert list(identity(tiny_llm).items()) == list(known.items())


def test_the_hash_is_of_all_files_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("model-00002-of-00002", "model-00001-of-00002"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    (tmp_path / "config.json").write_text("{}")
    both = hashlib.sha256(b"model-00001-of-00002model-00002-of-00002")
    assert safetensors_sha256(tmp_path) == both.hexdigest()


def test_other_weights_say_their_hash(tiny_llm: LocalGenerator, copied: Path) -> None:
    right = safetensors_sha256(copied)
    zeros, model = "0" * 64, tiny_llm.model
    for sha256, complaint in (
        (zeros, f"{copied}: its weights have sha256 {right}, but params.yaml names {zeros}; correct either"),
        ("", f"params.yaml: {model} has no sha256; that of what is in {copied} is {right}"),
    ):
        with pytest.raises(LamarError) as raised:
            LocalModel(named(tiny_llm, folder=str(copied), sha256=sha256), 4)
        assert str(raised.value) == complaint
    with (copied / "model.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    with pytest.raises(LamarError, match=f"but params.yaml names {right}"):
        LocalModel(named(tiny_llm, folder=str(copied), sha256=right), 4)


@pytest.mark.parametrize(
    ("gone", "complaint"),
    [
        ("config.json", r"own-model/config\.json: no such file; a model's folder is what save_pretrained writes"),
        ("model.safetensors", r"own-model: no \.safetensors files; save the model there"),
        ("chat_template.jinja", r"own-model: tiny has no chat template; take a model that is tuned"),
    ],
)
def test_a_folder_that_lacks_something_is_one_line(copied: Path, gone: str, complaint: str) -> None:
    right = safetensors_sha256(copied)
    (copied / gone).unlink()
    with pytest.raises(LamarError, match=complaint) as raised:
        checked(copied, right, "tiny")
    assert "\n" not in str(raised.value)


def test_an_older_tokenizer_has_its_chat_template_among_its_settings(copied: Path) -> None:
    template = (copied / "chat_template.jinja").read_text()
    (copied / "chat_template.jinja").unlink()
    (copied / "tokenizer_config.json").write_text(json.dumps({"chat_template": template}))
    assert checked(copied, safetensors_sha256(copied), "tiny") == copied


def load(sha256: str, endpoint: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Fetch the weights in a process of its own: huggingface_hub reads the hub's address when it is imported."""
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache / "hf"), "LAMAR_CACHE": str(cache), "NO_COLOR": "1"}
    command = [sys.executable, "-c", LOAD, REPOSITORY, sha256]
    return subprocess.run(command, env=os.environ | own, capture_output=True, text=True)


def test_a_repository_of_the_hub_is_downloaded_once(
    tiny_llm: LocalGenerator, copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, right, cache = said(tiny_llm), safetensors_sha256(copied), tmp_path / "cache"
    (copied / "pytorch_model.bin").write_bytes(b"not to be fetched")
    with hub(REPOSITORY, copied) as endpoint:
        wrong = load("0" * 64, endpoint, cache)
        assert wrong.returncode == 1
        assert f"its weights have sha256 {right}, but params.yaml names {'0' * 64}" in wrong.stderr
        done = load(right, endpoint, cache)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder == cache / right[:16] / "weights"
    assert not (folder / "pytorch_model.bin").exists()
    monkeypatch.setenv("LAMAR_CACHE", str(cache))
    llm = named(tiny_llm, hub=REPOSITORY, sha256=right)
    assert weights_folder(llm) == folder, "the hub is gone, the weights are here"
    assert said(llm) == expected


def test_a_hub_that_cannot_be_reached_is_one_line(tmp_path: Path) -> None:
    done = load("0" * 64, "http://127.0.0.1:9", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: hub org/tiny: not to be had (")
    assert done.stderr.endswith("; name its files on this machine instead, with folder: PATH\n")
    assert done.stderr.count("\n") == 1
