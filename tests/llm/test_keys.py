"""A key, however it was written down, stands in no error."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from llm_generators import SECRET, ask, gemini_generator, openai_generator
from llm_server import Server, failure

from lamar import params
from lamar.errors import LamarError
from lamar.params import RemoteGenerator

REPOSITORY = Path(__file__).parents[2]
WAYS = {
    "live": openai_generator,
    "batch": lambda server: openai_generator(server, mode="batch"),
    "gemini": gemini_generator,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("around", ["{}\n", " {}", "{}\r\n"])
def test_blanks_around_a_key_are_no_part_of_it(server: Server, monkeypatch, way: str, around: str) -> None:
    monkeypatch.setenv("TEST_API_KEY", around.format(SECRET))
    assert len(ask(WAYS[way](server), 2)) == 2


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("middle", ["\n", "\x7f", " ", "'", '"', "\\", "é"])
def test_a_key_that_can_be_none_is_named_not_told(server: Server, monkeypatch, way: str, middle: str) -> None:
    monkeypatch.setenv("TEST_API_KEY", f"{SECRET}{middle}more")
    with pytest.raises(LamarError, match=r"^TEST_API_KEY: holds a blank, a quote or another") as raised:
        ask(WAYS[way](server), 2)
    assert SECRET not in str(raised.value)
    assert server.requests == server.calls.total() == 0


@pytest.mark.parametrize("way", WAYS)
def test_a_key_that_the_server_repeats_is_not_told(server: Server, way: str) -> None:
    server.always = failure(401, "wrong key <key>")
    server.looks.append(server.always)
    with pytest.raises(LamarError, match=r"\*\*\*") as raised:
        ask(WAYS[way](server), 2)
    assert SECRET not in str(raised.value)


def with_entry(folder: Path, **changes: object) -> Path:
    chosen = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    chosen["generators"]["gpt-4o-mini"] |= changes
    path = folder / "params.yaml"
    path.write_text(yaml.safe_dump(chosen))
    return path


@pytest.mark.parametrize("key", [SECRET, "AIzaSyNotTold", "openai_api_key", ""])
def test_a_key_written_into_params_is_not_told(tmp_path: Path, key: str) -> None:
    expected = r"params\.yaml: generators\.gpt-4o-mini\.key: is the name of an environment variable, in capitals"
    with pytest.raises(LamarError, match=expected) as raised:
        params.load(with_entry(tmp_path, key=key))
    assert not key or key not in str(raised.value)


@pytest.mark.parametrize("address", ["http://user:hunter2@127.0.0.1/v1", "https://hunter2@gateway.example/v1"])
def test_a_password_in_an_address_is_not_told(tmp_path: Path, address: str) -> None:
    with pytest.raises(LamarError, match=r"generators\.gpt-4o-mini\.base_url: no user or password") as raised:
        params.load(with_entry(tmp_path, base_url=address))
    assert "hunter2" not in str(raised.value)


def test_every_key_in_params_is_a_name() -> None:
    entries = params.load(REPOSITORY / "params.yaml").generators.values()
    remote = [each for each in entries if isinstance(each, RemoteGenerator)]
    assert {each.key for each in remote} >= {"OPENAI_API_KEY", "GEMINI_API_KEY"}
