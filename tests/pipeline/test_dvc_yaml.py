"""dvc.yaml: what it expands to, and that every stage depends on what it uses."""

import ast
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from dvc.repo import Repo

REPOSITORY = Path(__file__).parents[2]

# fmt: off
STAGES = {
    "fetch@ml-100k": "python stages/fetch.py ml-100k",
    "prepare@ml-100k": "python stages/prepare.py ml-100k",
    "propose@ml-100k-qwen-coder": "python stages/propose.py ml-100k qwen-coder",
    "generate@ml-100k-qwen-coder": "python stages/generate.py ml-100k qwen-coder",
    "signals@ml-100k-qwen-coder": "python stages/signals.py ml-100k qwen-coder",
    "sequences@ml-100k-popularity": "python stages/sequences.py ml-100k popularity",
    "sequences@ml-100k-sasrec": "python stages/sequences.py ml-100k sasrec",
    "sequences@ml-100k-bert4rec": "python stages/sequences.py ml-100k bert4rec",
    "sequences@ml-100k-s3rec-original": "python stages/sequences.py ml-100k s3rec-original",
    "sequences@ml-100k-s3rec-lamar": "python stages/sequences.py ml-100k s3rec-lamar",
    "sequences@ml-100k-unisrec-original": "python stages/sequences.py ml-100k unisrec-original",
    "sequences@ml-100k-unisrec-lamar": "python stages/sequences.py ml-100k unisrec-lamar",
    "sequences@ml-100k-zesrec-original": "python stages/sequences.py ml-100k zesrec-original",
    "sequences@ml-100k-zesrec-lamar": "python stages/sequences.py ml-100k zesrec-lamar",
    "sequences@ml-100k-recformer-original": "python stages/sequences.py ml-100k recformer-original",
    "sequences@ml-100k-recformer-lamar": "python stages/sequences.py ml-100k recformer-lamar",
    "sequences@ml-100k-recformer-placebo": "python stages/sequences.py ml-100k recformer-placebo",
    "encode@ml-100k-popularity": "python stages/encode.py ml-100k popularity",
    "encode@ml-100k-sasrec": "python stages/encode.py ml-100k sasrec",
    "encode@ml-100k-bert4rec": "python stages/encode.py ml-100k bert4rec",
    "encode@ml-100k-s3rec-original": "python stages/encode.py ml-100k s3rec-original",
    "encode@ml-100k-s3rec-lamar": "python stages/encode.py ml-100k s3rec-lamar",
    "encode@ml-100k-unisrec-original": "python stages/encode.py ml-100k unisrec-original",
    "encode@ml-100k-unisrec-lamar": "python stages/encode.py ml-100k unisrec-lamar",
    "encode@ml-100k-zesrec-original": "python stages/encode.py ml-100k zesrec-original",
    "encode@ml-100k-zesrec-lamar": "python stages/encode.py ml-100k zesrec-lamar",
    "encode@ml-100k-recformer-original": "python stages/encode.py ml-100k recformer-original",
    "encode@ml-100k-recformer-lamar": "python stages/encode.py ml-100k recformer-lamar",
    "encode@ml-100k-recformer-placebo": "python stages/encode.py ml-100k recformer-placebo",
    "backbone@minilm": "python stages/backbone.py minilm",
    "train@ml-100k-popularity": "python stages/train.py ml-100k popularity",
    "train@ml-100k-sasrec": "python stages/train.py ml-100k sasrec",
    "train@ml-100k-bert4rec": "python stages/train.py ml-100k bert4rec",
    "train@ml-100k-s3rec-original": "python stages/train.py ml-100k s3rec-original",
    "train@ml-100k-s3rec-lamar": "python stages/train.py ml-100k s3rec-lamar",
    "train@ml-100k-unisrec-original": "python stages/train.py ml-100k unisrec-original",
    "train@ml-100k-unisrec-lamar": "python stages/train.py ml-100k unisrec-lamar",
    "train@ml-100k-zesrec-original": "python stages/train.py ml-100k zesrec-original",
    "train@ml-100k-zesrec-lamar": "python stages/train.py ml-100k zesrec-lamar",
    "train@ml-100k-recformer-original": "python stages/train.py ml-100k recformer-original",
    "train@ml-100k-recformer-lamar": "python stages/train.py ml-100k recformer-lamar",
    "train@ml-100k-recformer-placebo": "python stages/train.py ml-100k recformer-placebo",
    "evaluate@ml-100k-popularity": "python stages/evaluate.py ml-100k popularity",
    "evaluate@ml-100k-sasrec": "python stages/evaluate.py ml-100k sasrec",
    "evaluate@ml-100k-bert4rec": "python stages/evaluate.py ml-100k bert4rec",
    "evaluate@ml-100k-s3rec-original": "python stages/evaluate.py ml-100k s3rec-original",
    "evaluate@ml-100k-s3rec-lamar": "python stages/evaluate.py ml-100k s3rec-lamar",
    "evaluate@ml-100k-unisrec-original": "python stages/evaluate.py ml-100k unisrec-original",
    "evaluate@ml-100k-unisrec-lamar": "python stages/evaluate.py ml-100k unisrec-lamar",
    "evaluate@ml-100k-zesrec-original": "python stages/evaluate.py ml-100k zesrec-original",
    "evaluate@ml-100k-zesrec-lamar": "python stages/evaluate.py ml-100k zesrec-lamar",
    "evaluate@ml-100k-recformer-original": "python stages/evaluate.py ml-100k recformer-original",
    "evaluate@ml-100k-recformer-lamar": "python stages/evaluate.py ml-100k recformer-lamar",
    "evaluate@ml-100k-recformer-placebo": "python stages/evaluate.py ml-100k recformer-placebo",
    "taxrec-sequences@ml-100k-taxrec-original": "python stages/sequences.py ml-100k taxrec-original",
    "taxonomy@ml-100k-taxrec-original": "python stages/taxonomy.py ml-100k taxrec-original",
    "taxrec@ml-100k-taxrec-original": "python stages/taxrec.py ml-100k taxrec-original",
    "evaluate-taxrec@ml-100k-taxrec-original": "python stages/evaluate.py ml-100k taxrec-original",
    "significance@ml-100k": "python stages/significance.py ml-100k",
    "embeddings@ml-100k-qwen-coder-minilm": "python stages/embeddings.py ml-100k qwen-coder minilm",
    "buckets@ml-100k": "python stages/buckets.py ml-100k",
    "diversity@ml-100k-qwen-coder": "python stages/diversity.py ml-100k qwen-coder",
    "ratings@ml-100k-qwen-coder": "python stages/ratings.py ml-100k qwen-coder",
    "report": "python stages/report.py",
}
PRETRAINED = {"pretrain@games": "python stages/pretrain.py games"}  # with matrix.pretrained: [games]
RANKERS = {  # with matrix.rankers: [lora-lamar], sasrec-100 in matrix.pools, matrix.retrievers: [sasrec]
    "ranker-sequences@ml-100k-lora-lamar": "python stages/sequences.py ml-100k lora-lamar",
    "retrieve@ml-100k-sasrec": "python stages/retrieve.py ml-100k sasrec",
    "pools@ml-100k-lora-lamar-sampled-20": "python stages/pools.py ml-100k lora-lamar sampled-20",
    "pools@ml-100k-lora-lamar-sasrec-100": "python stages/pools.py ml-100k lora-lamar sasrec-100",
    "tune@ml-100k-lora-lamar": "python stages/tune.py ml-100k lora-lamar",
    "rank@ml-100k-lora-lamar-sampled-20": "python stages/rank.py ml-100k lora-lamar sampled-20",
    "rank@ml-100k-lora-lamar-sasrec-100": "python stages/rank.py ml-100k lora-lamar sasrec-100",
    "evaluate-ranker@ml-100k-lora-lamar-sampled-20": (
        "python stages/evaluate_ranker.py ml-100k lora-lamar sampled-20"
    ),
    "evaluate-ranker@ml-100k-lora-lamar-sasrec-100": (
        "python stages/evaluate_ranker.py ml-100k lora-lamar sasrec-100"
    ),
}
TRANSFERS = {  # with matrix.transfers: [zesrec-lamar], matrix.sources: [ml-100k]
    "transfer@ml-100k-ml-100k-zesrec-lamar": "python stages/transfer.py ml-100k ml-100k zesrec-lamar",
    "evaluate-transfer@ml-100k-ml-100k-zesrec-lamar": (
        "python stages/evaluate.py ml-100k zesrec-lamar --source ml-100k"
    ),
}
TAXREC = {  # with matrix.taxrec: [taxrec-lamar]
    "taxrec-sequences@ml-100k-taxrec-lamar": "python stages/sequences.py ml-100k taxrec-lamar",
    "taxonomy@ml-100k-taxrec-lamar": "python stages/taxonomy.py ml-100k taxrec-lamar",
    "taxrec@ml-100k-taxrec-lamar": "python stages/taxrec.py ml-100k taxrec-lamar",
    "evaluate-taxrec@ml-100k-taxrec-lamar": "python stages/evaluate.py ml-100k taxrec-lamar",
}
AGAIN = {  # with matrix.again: [qwen-coder]
    "again@ml-100k-qwen-coder": "python stages/again.py ml-100k qwen-coder",
}
# fmt: on

# Modules that a stage may use without depending on them: they carry, check or show what it works on.
CARRIERS = {f"lamar/{name}.py" for name in ("console", "errors", "files", "launch", "params", "tracking")}
CARRIERS |= {"lamar/cluster.py", "lamar/engine.py"}  # they say where a stage works, which changes no byte
CARRIERS |= {"lamar/data/downloads.py", "lamar/data/sources.py"}  # what they bring is known by its sha256
UNUSED = {
    "signals.py": {"lamar/llm"},  # imported with what reads the answers, but nobody is asked
    "rank.py": {"lamar/signals"},  # imported with what finds the LLM's weights, but nobody is asked
    "tune.py": {"lamar/signals"},
    "retrieve.py": {"lamar/data"},  # imported with what reads a trained run, but there are no new items to read
}


def expanded(folder: Path, **lists: str) -> list:
    """The stages of the committed files, with these further entries in lists of the matrix."""
    shutil.copy(REPOSITORY / "dvc.yaml", folder)
    params = (REPOSITORY / "params.yaml").read_text()
    for name, entry in lists.items():
        params = params.replace(f"\n  {name}: [", f"\n  {name}: [{entry}, ", 1)
    (folder / "params.yaml").write_text(params)
    with Repo.init(str(folder), no_scm=True) as repo:
        return list(repo.index.stages)


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> list:
    lists = {"rankers": "lora-lamar", "sources": "ml-100k", "transfers": "zesrec-lamar"}
    lists |= {"pretrained": "games", "again": "qwen-coder", "taxrec": "taxrec-lamar"}
    lists |= {"pools": "sasrec-100", "retrievers": "sasrec"}
    return expanded(tmp_path_factory.mktemp("expanded"), **lists)


def test_the_whole_expansion(tmp_path):
    found = expanded(tmp_path)
    assert {stage.addressing.split(":")[-1]: stage.cmd for stage in found} == STAGES


def test_the_expansion_with_every_list(stages):
    assert {
        stage.addressing.split(":")[-1]: stage.cmd for stage in stages
    } == STAGES | AGAIN | PRETRAINED | RANKERS | TAXREC | TRANSFERS


def test_every_committed_table_is_a_plot_with_its_template():
    """As `dvc plots show` finds them: once, in the stages of the matrix or in the list at the end."""
    committed = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "metrics").rglob("*.csv")}
    with Repo(str(REPOSITORY)) as repo:
        (shown_of,) = repo.plots.collect()
    sources = shown_of["workspace"]["definitions"]["data"].values()
    found = [(path, shown["template"]) for source in sources for path, shown in source["data"].items()]
    assert sorted(path for path, _ in found) == sorted(committed)
    named = {path: Path(path).parent.name if "/curves/" in path else Path(path).stem for path in committed}
    assert dict(found) == named


def imported(file: Path) -> Iterator[Path]:
    """The modules of lamar that a file imports, at its top or in a function."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "lamar":
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                yield REPOSITORY / f"{name.replace('.', '/')}.py"


def used(script: Path) -> set[str]:
    """The modules of lamar that a script uses, directly or through others."""
    found: set[Path] = set()
    waiting = [script]
    while waiting:
        new = {module for module in imported(waiting.pop()) if module.exists()} - found
        found |= new
        waiting += new
    return {str(module.relative_to(REPOSITORY)) for module in found}


@pytest.mark.parametrize("script", sorted(path.name for path in (REPOSITORY / "stages").glob("*.py")))
def test_a_stage_depends_on_its_script_and_on_every_module_that_it_uses(stages, script):
    stage = next(stage for stage in stages if stage.cmd.split()[1] == f"stages/{script}")
    dependencies = {dependency.def_path for dependency in stage.deps} | UNUSED.get(script, set())
    modules = used(REPOSITORY / "stages" / script) - CARRIERS
    unknown = {module for module in modules if not {module, *map(str, Path(module).parents)} & dependencies}
    assert unknown == set()
    assert f"stages/{script}" in dependencies


def test_every_source_that_a_stage_depends_on_exists(stages):
    paths = {dependency.def_path for stage in stages for dependency in stage.deps}
    sources = {path for path in paths if path.startswith(("lamar", "stages"))}
    assert [path for path in sources if not (REPOSITORY / path).exists()] == []


def test_every_other_dependency_is_written_by_a_stage_or_committed(stages):
    outs = [Path(out.def_path) for stage in stages for out in stage.outs]
    folders = {folder for out in outs for folder in (out, *out.parents)}
    inputs = {Path(dependency.def_path) for stage in stages for dependency in stage.deps}
    unwritten = {path for path in inputs if path not in folders and not set(path.parents) & set(outs)}
    assert [path for path in unwritten if not (REPOSITORY / path).exists()] == []
