"""What can be told of a command without running it: the program's own parser takes it, and its names are looked up."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import click
import yaml
from commands import REPOSITORY, fences
from dvc.cli import parse_args
from dvc.utils.hydra import apply_overrides

from lamar.cli import main as lamar
from lamar.params import Params

README = REPOSITORY / "README.md"
# Which table of params.yaml an argument of a command names an entry of.
TABLES = {
    "dataset": "datasets",
    "datasets": "datasets",
    "source": "datasets",
    "generator": "generators",
    "judge": "generators",
    "backbone": "backbones",
    "similarity": "backbones",
    "run": "runs",
    "ranker": "runs",
    "kind": "pools",
}


@cache
def settings() -> dict[str, Any]:
    """params.yaml with the entries that pages tell readers to write: `shop`, as the README has it, and `books`."""
    made = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    (shop,) = [yaml.safe_load(text) for language, text in fences(README) if language == "yaml"]
    made["datasets"] |= shop | {"books": made["datasets"]["office"]}
    Params.model_validate(made)
    return made


def changed(overrides: list[str], folder: Path) -> dict[str, Any]:
    """The settings after `-S`, as DVC writes them. Raises what DVC or lamar/params.py raises."""
    if not overrides:
        return settings()
    path = folder / "params.json"  # as params.yaml, but read in a moment
    path.write_text(json.dumps(settings()))
    apply_overrides(path, overrides)
    made = json.loads(path.read_text())
    Params.model_validate(made)
    return made


@cache
def stages() -> dict[str, Any]:
    """Those of dvc.yaml."""
    return yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]


def stage_names(chosen: dict[str, Any]) -> set[str]:
    """All names of stages that dvc.yaml has under these settings, with and without what follows the @."""
    names = set()
    for name, stage in stages().items():
        lists = [chosen["matrix"][key[len("${matrix.") : -1]] for key in stage.get("matrix", {}).values()]
        instances = list(product(*lists))
        names |= {name for _ in instances} | {f"{name}@{'-'.join(instance)}" for instance in instances if instance}
    return names


def check_dvc(words: tuple[str, ...], folder: Path) -> None:
    """DVC's parser takes it, its settings exist, its targets are stages or files."""
    asked = parse_args(list(words[1:]))
    chosen = changed(getattr(asked, "set_param", None) or [], folder)
    known = stage_names(chosen)
    for target in getattr(asked, "targets", None) or []:
        assert target in known or (REPOSITORY / target).exists(), f"{target}: neither a stage nor a file"


def check_click(command: click.Command, words: tuple[str, ...]) -> None:
    """Click's parser takes it, and what it names are entries of params.yaml."""
    given = command.make_context(str(command.name), list(words)).params
    for name, value in given.items():
        for entry in value if isinstance(value, tuple) else [value] if value else []:
            if name in TABLES:
                assert entry in settings()[TABLES[name]], f"{entry}: not in {TABLES[name]}"


def check_lamar(words: tuple[str, ...], folder: Path) -> None:
    """A command of `lamar`; without arguments it is only mentioned."""
    command = lamar.commands[words[1]]
    if words[2:]:
        check_click(command, words[2:])


def check_python(words: tuple[str, ...], folder: Path) -> None:
    """A script of ours with its arguments, or pytest."""
    if words[1:3] == ("-m", "pytest"):
        markers = {marker.split(":")[0] for marker in markers_of_pytest()}
        assert all((REPOSITORY / word).exists() or word in markers | {"-m"} for word in words[3:])
        return
    script = REPOSITORY / words[1]
    spec = importlib.util.spec_from_file_location(f"documented_{script.stem}", script)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # where its dataclasses look for it
    spec.loader.exec_module(module)
    check_click(module.main, words[2:])


def check_accelerate(words: tuple[str, ...], folder: Path) -> None:
    """`accelerate launch` with its options, and the script of ours that it starts."""
    from accelerate.commands.launch import launch_command_parser

    assert words[1] == "launch", words[1]
    asked = launch_command_parser().parse_args(list(words[2:]))
    check_python(("python", asked.training_script, *asked.training_script_args), folder)


def markers_of_pytest() -> list[str]:
    """As pyproject.toml declares them."""
    import tomllib

    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]["markers"]


def check_make(words: tuple[str, ...], folder: Path) -> None:
    """A target of the Makefile."""
    assert re.search(rf"^{words[1]}:", (REPOSITORY / "Makefile").read_text(), re.MULTILINE), words[1]


def check_mlflow(words: tuple[str, ...], folder: Path) -> None:
    """A command of MLflow."""
    from mlflow.cli import cli

    command = cli.get_command(click.Context(cli), words[1])  # `ui` is its other name for `server`
    assert command, words[1]
    command.make_context(words[1], list(words[2:]))


CHECKS = {
    "accelerate": check_accelerate,
    "dvc": check_dvc,
    "lamar": check_lamar,
    "make": check_make,
    "mlflow": check_mlflow,
    "python": check_python,
}
