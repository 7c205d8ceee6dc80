"""What the pages say beside commands: links, paths, errors, names, examples."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from checks import README, settings
from commands import PAGES, REPOSITORY, fences

from lamar.evaluation.metrics import METRICS
from lamar.evaluation.ranks import SCHEMA
from lamar.llm.journal import Answer
from lamar.params import Params
from lamar.signals.prompt import load_prompt

DESIGN, ERRORS = (REPOSITORY / f"docs/{name}.md" for name in ("design", "troubleshooting"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")
KEPT = (
    "lamar/",
    "stages/",
    "tests/",
    "benchmarks/",
    "docs/",
    "data/journals/",
    "metrics/ml-100k/",
    "metrics/scientific/",
)


def anchors(page: Path) -> set[str]:
    """What a link may name behind #, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text()):
        path, _, anchor = link.partition("#")
        if link.startswith("https://"):
            continue
        target = page if not path else (page.parent / path).resolve()
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = [word for code in CODE.findall(page.read_text()) for word in code.split() if word.startswith(KEPT)]
    whole = [word.rstrip(",;") for word in named if not re.search(r"[<>*$]|NAME|RUN|DATASET|converged", word)]
    assert [path for path in whole if not (REPOSITORY / path).exists() and not made(path)] == []


def made(path: str) -> bool:
    """Whether a command writes it, which the pages say."""
    return path == "data/journals/ml-100k/taxrec-original.jsonl"


def test_the_readme_names_every_page() -> None:
    linked = set(LINK.findall(README.read_text()))
    assert {f"docs/{page.name}" for page in PAGES if page.parent != REPOSITORY} <= linked


@cache
def literals() -> str:
    """All texts in the code, with a gap where a value is put in."""
    found = []
    for file in [*(REPOSITORY / "lamar").rglob("*.py"), *(REPOSITORY / "stages").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "\0" for part in node.values]
                found.append("".join(map(str, parts)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


def quoted() -> Iterator[str]:
    """The errors in the first columns of the page's tables, but for those of other programs."""
    own = ERRORS.read_text().split("## Not from LaMAR")[0]
    yield from re.findall(r"^\| `([^`]+)` \|", own, re.MULTILINE)


def test_errors_are_those_of_the_code() -> None:
    lines = list(quoted())
    assert len(lines) >= 20
    for line in lines:
        parts = [
            re.escape(part.strip(" :;"))
            for part in line.replace("params.yaml", "...").split("...")
            if part.strip(" .:;()")
        ]
        assert re.search(r"[^\n]*".join(parts), literals()), line


def test_names_of_metrics_and_columns_are_those_of_the_code() -> None:
    text = DESIGN.read_text()
    assert [name for name in [*METRICS, *SCHEMA] if f"`{name}`" not in text] == []
    (line,) = [text for language, text in fences(DESIGN) if language == "json"]
    assert Answer(**json.loads(line)).finish_reason == "stop"


def test_settings_in_examples_are_taken() -> None:
    for page in PAGES:
        for language, text in fences(page):
            if language == "yaml" and page != README:  # whose example `settings` has already
                Params.model_validate(
                    merged(settings(), yaml.safe_load(text.replace('sha256: "..."', f"sha256: {'a' * 64}")))
                )


def merged(known: dict, new: dict) -> dict:
    """The settings with those of an example, which stands under a table or is an entry of `datasets`."""
    if "generators" in new:  # whole ones, or what differs from the entry that the example tells to copy
        copied = known["generators"]["qwen-coder"]
        whole = {name: more if "provider" in more else copied | more for name, more in new["generators"].items()}
        new = new | {"generators": whole}
    if new.keys() & known.keys():
        return known | {table: known[table] | entries for table, entries in new.items()}
    return known | {"datasets": known["datasets"] | {name: known["datasets"][name] | new[name] for name in new}}


def test_the_example_of_a_prompt_is_one(tmp_path: Path) -> None:
    (text,) = [text for language, text in fences(REPOSITORY / "docs/data.md") if language == "toml"]
    (tmp_path / "prompt.toml").write_text(text)
    prompt = load_prompt(str(tmp_path / "prompt.toml"))
    assert prompt.signal == "Typical Job"
    assert prompt.signal in prompt.task


def layers() -> list[list[str]]:
    """The list of modules in design.md, the first line first."""
    (diagram,) = [text for language, text in fences(DESIGN) if language == ""]
    return [re.findall(r"lamar/(\w+)", line) for line in diagram.splitlines()]


def imports(file: Path) -> Iterator[str]:
    """The parts of lamar that a file imports while it runs, for the types alone not counted."""
    waiting: list[ast.AST] = [ast.parse(file.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module == "lamar":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and str(node.module).startswith("lamar."):
            yield str(node.module).split(".")[1]
        waiting += ast.iter_child_nodes(node)


SERVING_ALL = {"params", "files", "console", "errors", "launch", "tracking"}


def test_no_module_imports_one_that_stands_further_down() -> None:
    places = {name: place for place, names in enumerate(layers()) for name in names}
    parts = {
        path.stem
        for path in (REPOSITORY / "lamar").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert places.keys() | SERVING_ALL | {"__init__"} == parts
    wrong = [
        (str(file.relative_to(REPOSITORY)), other)
        for name, place in places.items()
        for file in [REPOSITORY / f"lamar/{name}.py", *(REPOSITORY / "lamar" / name).rglob("*.py")]
        if file.exists()
        for other in imports(file)
        if other not in SERVING_ALL | {name} and places[other] >= place
    ]
    assert wrong == []


PYPROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def test_the_citation_is_of_this_software() -> None:
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    project = PYPROJECT["project"]
    assert (cited["cff-version"], cited["type"]) == ("1.2.0", "software")
    assert (cited["version"], cited["license"]) == (project["version"], project["license"])
    assert f"## [{project['version']}]" in (REPOSITORY / "CHANGELOG.md").read_text()
    (paper,) = cited["references"]
    assert paper["title"] in README.read_text()
    assert {"type", "title", "authors"} <= paper.keys()


def test_the_hooks_run_what_make_test_runs_and_fetch_nothing() -> None:
    recipe = (REPOSITORY / "Makefile").read_text().split("\ntest:")[1].split("\n\n")[0]
    (local,) = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local"
    assert {hook["language"] for hook in local["hooks"]} == {"system"}
    assert [f"{hook['entry']} ." for hook in local["hooks"]] == re.findall(r"^\t(ruff .*)$", recipe, re.MULTILINE)


def test_docstrings_and_type_hints_are_linted() -> None:
    lint = PYPROJECT["tool"]["ruff"]["lint"]
    assert {"D1", "ANN"} <= set(lint["select"])
    assert set(lint["per-file-ignores"]) == {
        "tests/*",
        "lamar/recformer/kernels.py",
    }  # Triton has its own types
