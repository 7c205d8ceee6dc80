"""Answers, signals and models by a remote (a folder, web, SSH and S3 servers, all real): a clone asks no LLM again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from dvc.utils.serialize import modify_yaml
from http_remote import kept_in
from llm_server import Server, completion
from ssh_remote import Door, kept_by
from test_repro import (
    ANSWERS,
    CATALOGUE,
    Copy,
    commit,
    copy_sources,
    edit_params,
    environment,
    tiny_backbone,
    write_catalogue,
)

from lamar.llm import journal
from lamar.params import load
from lamar.signals.generate import questions
from lamar.signals.prompt import load_prompt

WRITER = "gpt-4o-mini"  # an LLM that costs money
STAGE = f"generate@tiny-{WRITER}"
RESPONSES = f"data/responses/tiny/{WRITER}.jsonl"
BUCKET = "team"
KEY = {"OPENAI_API_KEY": "sk-test"}
S3_KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass(frozen=True)
class Team:
    """Who asked and pushed, what was asked, and where the others get it from: the names of the remotes."""

    author: Copy
    server: Server
    folder: Path  # its folders are what the remotes of these names keep; S3 keeps its own
    remotes: list[str]
    door: Door

    def clone(self, folder: Path, **variables: str) -> Copy:
        """A clone on another machine: nothing but git, the raw files and the backbone's mirror is common."""
        own = environment(folder) | {"LAMAR_MIRROR": self.author.environment["LAMAR_MIRROR"]} | S3_KEYS | variables
        for name in ("home", "journal"):
            (folder / name).mkdir()
        self.door.open_for(folder / "home")
        self.author.run("git", "clone", "-q", ".", str(folder / "copy"))
        made = Copy(folder / "copy", {name: value for name, value in own.items() if name not in KEY.keys() - variables})
        write_catalogue(made.root / "data/own")
        return made


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """An OpenAI-compatible server that answers with what a real LLM wrote about the films."""
    chosen = load(Path(__file__).parents[2] / "params.yaml")
    import polars as pl

    items = pl.DataFrame(CATALOGUE, schema=["item_id", "title", "genre"], orient="row")
    known = journal.read(ANSWERS)
    asked = questions(items, ["title", "genre"], load_prompt("movielens"), chosen.generators["qwen-coder"])
    texts = {question.messages[-1]["content"]: known[question.key].text for question in asked}

    async def answer(_: web.Request, question: str) -> web.Response:
        body = completion(question)
        body["choices"][0]["message"]["content"] = texts.get(question, "quiet and wistful, about a town by the sea")
        return web.json_response(body)

    with Server() as made:
        made.always = answer
        yield made


@pytest.fixture(scope="module")
def s3() -> Iterator[str | None]:
    """The address of a real S3 server with an empty bucket, or None without its packages (extra `dev`)."""
    try:
        import boto3
        from moto.server import ThreadedMotoServer
    except ImportError:
        yield None
        return
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    address = "http://{}:{}".format(*running.get_host_and_port())
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **keys).create_bucket(Bucket=BUCKET)
    yield address
    running.stop()


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address of a web server, and the folder in which it keeps what is put there."""
    folder = tmp_path_factory.mktemp("remotes")
    with kept_in(folder / "http") as address:
        yield address, folder


@pytest.fixture(scope="module")
def ssh(http: tuple[str, Path]) -> Iterator[Door]:
    """The SSH server, which keeps its files beside those of the web server."""
    with kept_by(http[1] / "ssh") as door:
        yield door


@pytest.fixture(scope="module")
def team(
    tmp_path_factory: pytest.TempPathFactory, server: Server, s3: str | None, http: tuple[str, Path], ssh: Door
) -> Team:
    """The author's repository: the LLM asked, everything made, committed and pushed."""
    folder = tmp_path_factory.mktemp("author")
    author = Copy(folder / "copy", environment(folder) | KEY | S3_KEYS)
    for name in ("home", "journal"):
        (folder / name).mkdir()
    ssh.open_for(folder / "home")
    copy_sources(author.root)
    write_catalogue(author.root / "data/own")
    edit_params(author.root, tiny_backbone(folder / "mirror/backbone"))
    with modify_yaml(str(author.root / "params.yaml")) as params:
        params["matrix"] |= {"generators": [WRITER], "runs": ["recformer-lamar"]}
        params["generators"][WRITER] |= {"base_url": server.url, "budget_usd": 5}
        params["features"]["lamar"]["signals"] = [WRITER]
        params["tracking"]["enabled"] = False
    author.run("git", "init", "-q")
    for key, value in {"user.name": "Test", "user.email": "test@example.org", "commit.gpgsign": "false"}.items():
        author.run("git", "config", key, value)
    address, kept = http
    remotes = {"folder": str(kept / "folder"), "http": address, "ssh": f"ssh://127.0.0.1:{ssh.port}/"}
    remotes |= {"s3": f"s3://{BUCKET}/lamar"} if s3 else {}
    options = {"http": "method = PUT", "s3": f"endpointurl = {s3}"}
    with (author.root / ".dvc/config").open("a") as config:  # as `dvc remote add` writes it
        for name, url in remotes.items():
            config.write(f"['remote \"{name}\"']\n    url = {url}\n    {options.get(name, '')}\n")
    author.run("dvc", "repro", "evaluate")
    commit(author)
    for name in remotes:
        author.run("dvc", "push", "-r", name)
    return Team(author, server, kept, list(remotes), ssh)


@pytest.fixture(params=["folder", "http", "ssh", "s3"])
def remote(team: Team, request: pytest.FixtureRequest) -> str:
    if request.param not in team.remotes:
        pytest.skip("no S3 server: pip install -e .[dev]")
    return request.param


def metrics(copy: Copy) -> dict[str, bytes]:
    """By path within the copy."""
    return {str(Path(path).relative_to(copy.root)): content for path, content in copy.metrics().items()}


def responses(copy: Copy) -> list[dict]:
    return [json.loads(line) for line in (copy.root / RESPONSES).read_text().splitlines()]


def test_what_the_author_asked(team):
    assert len(responses(team.author)) == team.server.requests == len(CATALOGUE)
    assert team.author.read(f"metrics/tiny/{WRITER}/quality.json")["kept"] >= 20


def test_a_clone_that_pulls_everything_makes_nothing_again(team, remote, tmp_path):
    asked = team.server.requests
    clone = team.clone(tmp_path)
    clone.run("dvc", "pull", "-r", remote, "--with-deps", "evaluate")  # all that the author made
    said = clone.run("dvc", "repro", "evaluate")
    assert "Running stage" not in said
    assert (clone.root / "models/tiny/recformer-lamar/seed-0.safetensors").exists()
    assert (clone.root / f"data/signals/tiny/{WRITER}.parquet").exists()
    assert team.server.requests == asked


def test_a_clone_that_pulls_the_answers_makes_the_rest_without_a_key(team, tmp_path):
    asked = team.server.requests
    clone = team.clone(tmp_path)
    clone.run("dvc", "pull", "-r", team.remotes[-1], "generate")
    said = clone.run("dvc", "repro", "evaluate")
    assert f"Running stage '{STAGE}'" not in said
    assert "Running stage 'train@tiny-recformer-lamar'" in said
    assert metrics(clone) == metrics(team.author)
    assert clone.run("git", "status", "--porcelain") == ""
    assert team.server.requests == asked


def drop_answers(team: Team, remote: str, s3: str | None) -> None:
    """Delete the object of the answers from the remote."""
    lock = yaml.safe_load((team.author.root / "dvc.lock").read_text())
    (out,) = [out for out in lock["stages"][STAGE]["outs"] if out["path"] == RESPONSES]
    name = f"files/md5/{out['md5'][:2]}/{out['md5'][2:]}"
    if remote != "s3":
        (team.folder / remote / name).unlink()
    else:
        import boto3

        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
        client = boto3.client("s3", endpoint_url=s3, **keys)
        client.head_object(Bucket=BUCKET, Key=f"lamar/{name}")
        client.delete_object(Bucket=BUCKET, Key=f"lamar/{name}")


def test_answers_that_the_remote_lost_are_not_paid_for_again(team, remote, s3, tmp_path):
    asked = team.server.requests
    drop_answers(team, remote, s3)
    clone = team.clone(tmp_path, **KEY)  # a key, and a budget in params.yaml: it could pay
    assert "missing" in clone.run("dvc", "pull", "-r", remote, "generate", status=None).lower()
    clone.run("dvc", "remote", "default", remote)
    for command in (["dvc", "repro", "evaluate"], ["dvc", "repro", "--pull", "evaluate"]):
        said = clone.run(*command, status=None)
        (line,) = [line for line in said.splitlines() if line.startswith("error:")]
        assert line.startswith(
            f"error: {RESPONSES}: its answers are paid for (dvc.lock), but not here; bring them with"
        )
        assert f"dvc pull {STAGE}" in line
        assert "Traceback" not in said
    assert team.server.requests == asked
    assert (clone.root / f"metrics/tiny/{WRITER}/quality.json").exists()
    team.author.run("dvc", "push", "-r", remote)
    clone.run("dvc", "pull", "generate")
    assert responses(clone) == responses(team.author)
