"""Every command of the README and of docs/: run here, run by a test that is named, or not run for a reason that is."""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from checks import CHECKS
from click.testing import CliRunner
from commands import PAGES, REPOSITORY, Command, fenced, fences, inline, split

from lamar.cli import main as lamar

# In the repository: they only read.
READING = """
lamar table significance --dataset ml-100k
lamar table significance --dataset scientific
lamar table buckets --dataset scientific
lamar table main --dataset ml-100k --format latex
lamar table runs --dataset scientific
lamar table rankers --dataset scientific
"""

# In a clone of the repository, in this order.
HERE = """
dvc remote add -d team s3://bucket/lamar
dvc remote add -d web https://example.org/lamar
dvc remote modify web method PUT
dvc remote modify --local team endpointurl https://s3.example.org
dvc plots show metrics/ml-100k/curves/sasrec.csv
echo 'OPENAI_API_KEY=sk-...'
git add -A && git commit -m 'signals' && git push
git checkout params.yaml
git checkout params.yaml dvc.lock metrics ranks data/proposals
git status --short
rm -r .checkpoints
make clean
"""

# On a catalogue, a server or weights that are tiny.
BY_TESTS = {
    "tests/pipeline/test_repro.py::copy": "dvc repro",
    "tests/pipeline/test_repro.py::scratch": "dvc checkout",
    "tests/pipeline/test_repro.py::test_dvc_shows_metrics_plots_and_the_graph": """
        dvc metrics show
        dvc plots show
        dvc dag
    """,
    "tests/pipeline/test_repro.py::test_an_experiment_is_compared_with_what_is_committed": """
        dvc exp run -S runs.sasrec.hidden=128 evaluate@ml-100k-sasrec
        dvc metrics diff
    """,
    "tests/pipeline/test_remotes.py::team": "dvc push",
    "tests/pipeline/test_remotes.py::clone": "git clone REPOSITORY lamar",
    "tests/pipeline/test_remotes.py::test_a_clone_that_pulls_the_answers_makes_the_rest_without_a_key": """
        dvc pull generate
    """,
    "tests/test_cli.py::estimate": "lamar estimate --dataset ml-100k --generator gpt-4o-mini",
    "tests/test_cli.py::test_an_unknown_name_is_one_line": "lamar share-answers ml-100k gpt-4o-mini",
    "tests/serving/test_commands.py::recommend": """
        lamar recommend --dataset ml-100k --model recformer-original --history 50,172,89 -k 3
        lamar recommend --dataset ml-100k --model sasrec --users users.csv --out recommended.parquet
        lamar recommend --dataset ml-100k --model recformer-lamar --history 50,172 --new-items new.csv
    """,
    "tests/serving/test_publish.py::address": "lamar publish --dataset ml-100k --model recformer-original",
}

# What cannot be run here is parsed by its own program, and what it names is looked up.
NOT_RUN = {
    "CI runs it: .ci/run": "make test",
    "installs packages": """
        make env
        python3.11 -m venv .references
        .references/bin/pip install -r benchmarks/references_recbole.txt
    """,
    "a quarter of an hour; the copy of tests/pipeline/test_repro.py is this run on a tiny catalogue": "make repro",
    "changes the code that is tested": "make format",
    "runs tests": """
        python -m pytest tests/evaluation
        python -m pytest -m slow
    """,
    "changes the shell that it is typed into": """
        . .venv/bin/activate
        cd lamar
    """,
    "downloads from the publisher": """
        dvc repro prepare
        dvc repro fetch
        dvc exp run -S 'matrix.datasets=[scientific]' prepare
    """,
    "a server that runs until it is ended": "mlflow ui",
    "needs the server that `lamar publish` names: tests/serving/test_publish.py asks one, without curl": """
        curl 127.0.0.1:5001/invocations -H 'Content-Type: application/json' \\
          -d '{"dataframe_records": [{"history": ["50", "172", "89"]}], "params": {"k": 3}}'
    """,
    "needs a catalogue of the reader's": """
        dvc exp run -S 'matrix.datasets=[shop]' prepare
        dvc exp run -S 'matrix.datasets=[shop]' propose
        dvc exp run -S 'matrix.datasets=[shop]' -S 'matrix.taxrec=[]'
        lamar estimate --dataset books --generator gpt-4o-mini
        dvc exp run -S 'matrix.datasets=[books]' -S datasets.books.sample_users=0.01 prepare
    """,
    "needs items that were downloaded": "lamar estimate --dataset scientific --generator gpt-4o-mini",
    "asks an LLM that costs money: tests/pipeline/test_remotes.py and tests/llm/test_batch.py do so with servers": """
        dvc exp run -S 'matrix.generators=[gpt-4o-mini]' -S 'features.lamar.signals=[gpt-4o-mini]' \\
          -S 'features.placebo.signals=[gpt-4o-mini]' -S generators.gpt-4o-mini.budget_usd=1
        dvc exp run -S 'matrix.generators=[gpt-4o-mini]' -S generators.gpt-4o-mini.mode=batch \\
          -S generators.gpt-4o-mini.budget_usd=1 generate
        dvc exp run -S 'matrix.generators=[gpt-4o-mini]' -S generators.gpt-4o-mini.mode=batch \\
          -S generators.gpt-4o-mini.budget_usd=200 generate
        dvc exp run -S 'matrix.taxrec=[taxrec-original]' -S runs.taxrec-original.llm=gpt-4o-mini \\
          -S runs.taxrec-original.history_characters=60000 -S generators.gpt-4o-mini.budget_usd=5 evaluate-taxrec
        dvc exp run -S 'matrix.datasets=[scientific]' -S 'matrix.taxrec=[]' -S 'matrix.generators=[gpt-4o-mini]' \\
          -S generators.gpt-4o-mini.budget_usd=1 -S 'features.lamar.signals=[gpt-4o-mini]' \\
          -S 'features.placebo.signals=[gpt-4o-mini]' -S 'matrix.backbones=[minilm,longformer]' \\
          -S matrix.runs=[recformer-paper-original-original,recformer-paper-original-lamar,\\
recformer-paper-lamar-original,recformer-paper-lamar-lamar]
        dvc exp run -S 'matrix.datasets=[ml-1m-storylines]' -S 'matrix.taxrec=[]' \\
          -S 'matrix.generators=[gpt-4o-mini]' -S generators.gpt-4o-mini.budget_usd=1 \\
          -S 'features.lamar.signals=[gpt-4o-mini]' -S 'features.placebo.signals=[gpt-4o-mini]'
    """,
    "loads a model of 1.1 GB: tests/signals/test_generate.py verifies answers with a tiny one": """
        lamar verify-journal ml-100k qwen-coder
    """,
    "trains or asks a local LLM for minutes to days": """
        make scientific
        make pretrained
        make baselines
        make tuned
        make rankers
        dvc exp run -S 'matrix.generators=[qwen-coder,qwen-coder-prompt-variant,qwen-coder-signal-variant]' diversity
        dvc exp run -S 'matrix.datasets=[scientific]' \\
          -S 'matrix.generators=[qwen-coder,qwen-coder-half,qwen-coder-half-aligned]' diversity
        dvc exp run -S 'matrix.runs=[zesrec-placebo]' evaluate@ml-100k-zesrec-placebo
        dvc exp run -S 'matrix.runs=[s3rec-placebo,unisrec-placebo]' evaluate
        dvc exp run -S 'matrix.runs=[recformer-original,recformer-lamar,recformer-random-words]'
        dvc exp run -S 'matrix.backbones=[minilm,mpnet]' -S 'matrix.similarity=[minilm,mpnet]' diversity
        dvc exp run -S 'matrix.datasets=[instruments]' -S 'matrix.taxrec=[]' -S 'matrix.runs=[popularity,sasrec]'
        dvc exp run -S 'matrix.datasets=[ml-100k,scientific]' -S 'matrix.runs=[zesrec-original]' \\
          -S 'matrix.sources=[scientific]' -S 'matrix.transfers=[zesrec-original]' evaluate-transfer
        dvc exp run -S 'matrix.datasets=[games,scientific]' -S 'matrix.pretrained=[games]' \\
          -S 'matrix.runs=[recformer-games-original,recformer-games-lamar]' evaluate@scientific-recformer-games-lamar
        dvc exp run -S 'matrix.taxrec=[taxrec-original,taxrec-lamar]' evaluate-taxrec
    """,
    "needs several GPUs: tests/recformer/test_together.py launches two processes on a CPU": """
        accelerate launch --num_processes 4 stages/train.py ml-100k recformer-original
        accelerate launch --num_processes 4 stages/pretrain.py games
        dvc commit -f train@ml-100k-recformer-original
    """,
    "needs several GPUs: tests/rankers/test_tuning_together.py launches two processes on a CPU": """
        accelerate launch --num_processes 2 stages/tune.py ml-100k lora-original
    """,
    "needs a GPU": """
        dvc exp run -S 'matrix.datasets=[scientific]' -S 'matrix.taxrec=[]' -S 'matrix.backbones=[minilm,longformer]' \\
          -S matrix.runs=[recformer-paper-original-original,recformer-paper-original-lamar,\\
recformer-paper-lamar-original,recformer-paper-lamar-lamar]
        dvc exp run -S 'matrix.rankers=[pool-popularity,untuned-original,lora-original,lora-lamar]' \\
          -S 'matrix.pools=[sampled-20,sampled-99,sasrec-100]' -S 'matrix.retrievers=[sasrec]' \\
          evaluate-ranker
        dvc exp run -S 'matrix.datasets=[scientific]' \\
          -S matrix.rankers=[pool-popularity,untuned-original,lora-original,lora-lamar,lora-placebo] \\
          -S 'matrix.pools=[sampled-20,sampled-99]' evaluate-ranker
        dvc exp run -S 'matrix.datasets=[scientific]' \\
          -S matrix.rankers=[pool-popularity,untuned-llama-original,lora-llama-original,lora-llama-lamar] \\
          -S 'matrix.pools=[sampled-20,sampled-99]' evaluate-ranker
    """,
    "needs the answers of an LLM; tests/taxonomy/test_taxrec_stages.py takes them from git": """
        cat data/taxonomies/ml-100k/taxrec-original/*.jsonl
    """,
    "needs several machines: tests/engine/test_on_a_cluster.py has two nodes of Ray on this one": """
        export RAY_USAGE_STATS_ENABLED=0 OMP_NUM_THREADS=1
        ray start --head --port 6379 --include-dashboard false
        ray start --address 10.0.0.1:6379 --num-cpus 4
        dvc exp run -S engine=ray generate
        ray stop
    """,
    "measures a machine for minutes": """
        python benchmarks/diversity.py
        python benchmarks/runner.py
        python benchmarks/recformer.py --size minilm --users 256 --reference-users 64 --reference-items 512
        python benchmarks/recformer.py --size base --users 8192 --reference-users 256 --reference-items 512 --compiled
        python benchmarks/recformer_steps.py
        python benchmarks/rankers.py ml-100k lora-small-original --pools 1 --prompts 8
        python benchmarks/rankers.py scientific lora-half-original --pools 1 --prompts 4 --batch 2 --rounds 1
        python benchmarks/generate.py ml-100k qwen-coder
        python benchmarks/baselines.py search --limit 7200
    """,
    "needs the environment of RecBole, in which tests/baselines/test_references.py runs it on a tiny catalogue": """
        python benchmarks/references.py ml-100k
        python benchmarks/references.py ml-100k --model SASRec --defaults --seeds 2 --epochs 20
        python benchmarks/references.py ml-100k --model SASRec --model BERT4Rec --defaults --seeds 1 --epochs 1
        python benchmarks/baselines.py train --limit 600 --workers 12
        python benchmarks/baselines.py collect
    """,
}


def texts(shell: str) -> list[str]:
    return [command.text for command in split(shell)]


KNOWN = [text for shell in (READING, HERE, *BY_TESTS.values(), *NOT_RUN.values()) for text in texts(shell)]


def test_every_command_is_run_or_it_is_said_why_not() -> None:
    documented = {command.text: command.page for command in fenced()}
    new = {text: page for text, page in documented.items() if text not in KNOWN}
    assert new == {}, "run it, name the test that does, or say why none can"
    assert [text for text in KNOWN if text not in documented] == [], "no page has it any more"
    assert len(set(KNOWN)) == len(KNOWN)


def test_no_command_hides_in_another_kind_of_block() -> None:
    blocks = [(page.name, language, text) for page in PAGES for language, text in fences(page)]
    assert {language for _, language, _ in blocks} <= {"bash", "yaml", "toml", "json", ""}
    programs = (*CHECKS, "git", "$")
    plain = [line for _, language, text in blocks if language == "" for line in text.splitlines()]
    assert [line for line in plain if line.strip().split(" ")[0] in programs] == []


@pytest.mark.parametrize("page", [page for page in PAGES if "```bash" in page.read_text()], ids=lambda page: page.name)
def test_blocks_are_shell(page: Path) -> None:
    for language, text in fences(page):
        if language == "bash":
            done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
            assert (done.returncode, done.stderr) == (0, ""), text


def distinct(commands: list[Command]) -> list[Command]:
    return list({command.text: command for command in commands if command.words[0] in CHECKS}.values())


@pytest.mark.parametrize("command", distinct([*fenced(), *inline()]), ids=lambda command: command.text[:80])
def test_its_program_would_take_it(command: Command, tmp_path: Path) -> None:
    CHECKS[command.words[0]](command.words, tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        "dvc repro trian",
        "dvc repro evaluate-ranker",  # no stage as long as its list is empty
        "dvc exp run -S 'matrix.runs=[bert5rec]'",
        "dvc exp run -S runs.sasrec.hiden=128",
        "dvc exp run -S runs.sasrec.hidden=many",
        "dvc metrics difference",
        "lamar estimate --dataset ml-100 --generator gpt-4o-mini",
        "lamar recommend --dataset ml-100k --modle sasrec",
        "lamar rat ml-100k qwen-coder",
        "make reproduce",
        "mlflow uii",
        "python benchmarks/generate.py ml-100k",
        "python benchmarks/absent.py",
        "python -m pytest tests/absent",
        "accelerate launch --num_processes 2 stages/train.py scientific recformer-papre",
    ],
)
def test_a_wrong_command_is_found(wrong: str, tmp_path: Path) -> None:
    (command,) = split(wrong)
    with pytest.raises((Exception, SystemExit)):
        CHECKS[command.words[0]](command.words, tmp_path)


def test_a_script_that_is_launched_is_checked_like_one_that_is_run(tmp_path: Path) -> None:
    (command,) = split("accelerate launch --num_processes 2 stages/train.py scientific recformer-lamar-products")
    CHECKS["accelerate"](command.words, tmp_path)


def functions(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("node", BY_TESTS)
def test_the_test_that_runs_it_exists(node: str) -> None:
    path, name = node.split("::")
    assert name in functions(REPOSITORY / path)
    source = (REPOSITORY / path).read_text()
    for command in split(BY_TESTS[node]):
        _, what, *more = command.words
        said = [what, more[0]] if what in ("exp", "metrics", "plots") else [what]
        assert all(f'"{word}"' in source for word in said), command.text


@pytest.mark.parametrize("command", list(split(READING)), ids=lambda command: command.text)
def test_tables_are_printed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    done = CliRunner().invoke(lamar, command.words[1:])
    assert done.exit_code == 0, done.output
    assert "-lamar" in done.output  # a run with signals
    assert ("tabular" in done.output) == ("latex" in command.words)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A clone of the repository with an origin to push to, and an environment without the user's settings."""
    folder = tmp_path_factory.mktemp("documented")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LAMAR_", "DVC_", "GIT_"))}
    environment |= {"HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1", "DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}
    environment |= {f"GIT_{who}_{key}": "a@b.c" for who in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    environment["DVC_SITE_CACHE_DIR"] = str(folder / "dvc")
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment["PYTHONPATH"] = str(folder / "lamar")
    for command in (
        ["git", "clone", "-q", "--bare", "--single-branch", str(REPOSITORY), "origin.git"],
        ["git", "clone", "-q", "origin.git", "lamar"],
        ["git", "-C", "lamar", "checkout", "-q", "-B", "documented"],
        ["git", "-C", "lamar", "config", "push.default", "current"],
    ):
        subprocess.run(command, cwd=folder, env=environment, check=True)
    (folder / "lamar/.checkpoints").mkdir()
    return folder / "lamar", environment


@pytest.mark.skipif(not shutil.which("git"), reason="no git here")
def test_cheap_ones_run(clone: tuple[Path, dict[str, str]]) -> None:
    """As they stand in the pages, one after the other; those in one line with && together."""
    root, environment = clone
    said = {}
    for line in HERE.strip().splitlines():
        done = subprocess.run(["bash", "-c", line], cwd=root, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        said[line] = done.stdout
    assert "file://" in said["dvc plots show metrics/ml-100k/curves/sasrec.csv"]
    config = (root / ".dvc/config").read_text()
    assert "s3://bucket/lamar" in config
    assert "method = PUT" in config
    pushed = subprocess.run(
        ["git", "log", "-1", "--format=%s", "documented"],
        cwd=root.parent / "origin.git",
        capture_output=True,
        text=True,
    )
    assert pushed.stdout.strip() == "signals"
    assert said["git status --short"] == ""
    assert not (root / ".checkpoints").exists()


def test_a_key_in_env_is_not_taken_up_by_git(clone: tuple[Path, dict[str, str]]) -> None:
    root, environment = clone
    (line,) = [line for _, text in fences(PAGES[0]) for line in text.splitlines() if line.startswith("echo ")]
    subprocess.run(["bash", "-c", line], cwd=root, env=environment, check=True)
    assert (root / ".env").read_text().startswith("OPENAI_API_KEY=")
    status = subprocess.run(["git", "status", "--short"], cwd=root, capture_output=True, text=True, check=True)
    assert ".env" not in status.stdout
    assert shlex.split(line, comments=True)[-1] == ".env"
