"""All stages of a ranker of pools, by their scripts, on a small made-up catalogue and a tiny real LLM."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import tiny_llm as tiny
import yaml
from safetensors.torch import load_file, save_file

from lamar.evaluation.ranks import read
from lamar.files import sha256_of

REPOSITORY = Path(__file__).parents[2]
NOUNS = ["drum", "guitar", "saw", "drill", "lamp", "chair", "table", "glass", "paper", "brush"]
TITLES = [f"{colour} {noun}" for colour in ("red", "blue", "green") for noun in NOUNS]
USERS, LENGTH = 16, 8


def write_project(root: Path) -> None:
    """params.yaml with three small runs, prepared tables, signals and a trained popularity."""
    chosen = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    few = {"train": 16, "validation": 4, "test": 10, "others": 8, "checked": 4}
    llm = tiny.generator("float32").model_dump(exclude={"adapter"})
    chosen["generators"]["tiny"] = llm
    small = {"llm": "tiny", "prompts": few, "seeds": [0, 1], "precision": "float32", "learning_rate": 0.01}
    chosen["runs"]["lora-tiny"] = chosen["runs"]["lora-lamar"] | small | {"epochs": 2, "patience": 2, "warmup_steps": 1}
    chosen["runs"]["untuned-tiny"] = chosen["runs"]["untuned-original"] | small | {"seeds": [0]}
    chosen["runs"]["counts"] = chosen["runs"]["pool-popularity"] | {"prompts": few}
    chosen["pools"] |= {"sampled-4": {"candidates": 5}, "sampled-9": {"candidates": 10}}
    chosen["pools"]["sampled-7"] = {"candidates": 8, "at_most": {"test": 3, "checked": 2, "seeds": 1}}
    chosen["pools"]["popularity-6"] = {"candidates": 6, "first": "popularity"}
    chosen["tune"]["pools"] = "sampled-4"
    chosen["tracking"]["enabled"] = False
    (root / "params.yaml").write_text(yaml.safe_dump(chosen))
    rng = np.random.default_rng(0)
    items = [rng.choice(len(TITLES), LENGTH, replace=False) for _ in range(USERS)]
    ids = [f"i{number:02}" for number in range(len(TITLES))]
    users = np.arange(USERS)
    tables = {
        "prepared/items": {"item": range(len(TITLES)), "item_id": ids, "title": TITLES, "genre": "music"},
        "prepared/interactions": {
            "user": np.repeat(users, LENGTH),
            "item": np.concatenate(items),
            "timestamp": 1,
            "position": np.tile(np.arange(LENGTH), USERS),
        },
        "prepared/split": {
            "user": users,
            "train": [3 if user < 4 else LENGTH - 2 for user in users],
            "validation": [i[-2] for i in items],
            "test": [i[-1] for i in items],
            "fold": "explore",
        },
        "signals/qwen-coder": {"item_id": ids, "name": "Use", "signal": "play music", "kept": True, "reason": ""},
    }
    for name, columns in tables.items():
        kind, _, file = name.partition("/")
        path = root / "data" / kind / "ml-100k" / f"{file}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pl.DataFrame(columns).write_parquet(path)
    (root / "data/raw/ml-100k").mkdir(parents=True)
    (root / "data/raw/ml-100k/source.json").write_text('{"variant": "mirror", "files": {}}')
    counts = np.bincount(np.concatenate([i[:-2] for i in items]), minlength=len(TITLES)).astype(np.float32)
    (root / "models/ml-100k/popularity").mkdir(parents=True)
    from torch import from_numpy

    save_file({"counts": from_numpy(counts)}, root / "models/ml-100k/popularity/seed-0.safetensors")


def run_stages(root: Path, cache: Path, stages: list[tuple[str, ...]]) -> str:
    """Run stages with their arguments one after the other; what they said."""
    script = "\n".join(["import sys, importlib", f"sys.path.insert(0, {str(REPOSITORY / 'stages')!r})"])
    script += f"""
for stage, *names in {stages!r}:
    print("stage", stage, *names, file=sys.stderr)
    importlib.import_module(stage).main(["ml-100k", *names], standalone_mode=False)
"""
    environment = {"LAMAR_CACHE": str(cache), "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory, tiny_cache):
    """Everything run once; what each stage said."""
    root = tmp_path_factory.mktemp("project")
    write_project(root)
    runs, kinds = ("counts", "untuned-tiny", "lora-tiny"), ("sampled-4", "sampled-7", "sampled-9", "popularity-6")
    stages = [("sequences", run) for run in ("popularity", *runs)] + [("retrieve", "popularity")]
    ranked = [(run, kind) for run in runs for kind in kinds if run != "untuned-tiny" or kind == "sampled-4"]
    stages += [("pools", *names) for names in ranked] + [("tune", run) for run in runs]
    stages += [(stage, *names) for names in ranked for stage in ("rank", "evaluate_ranker")]
    return root, run_stages(root, tiny_cache, stages)


def metrics(root: Path, kind: str, file: str) -> dict:
    return json.loads((root / f"metrics/ml-100k/{kind}/{file}.json").read_text())


def test_every_size_of_pool_is_ranked_by_the_same_adapter(project):
    root, _ = project
    for kind, size, users in (("sampled-4", 5, 10), ("sampled-9", 10, 8)):
        table = read(root / f"ranks/ml-100k/{kind}/lora-tiny.parquet")
        assert table["candidates"].unique().to_list() == [size]
        assert table["seed"].unique().to_list() == [0, 1]
        assert table.height == 2 * users
        assert metrics(root, kind, "lora-tiny.signature")["protocol"] == kind
    folders = sorted(path.name for path in (root / "models/ml-100k/lora-tiny").iterdir())
    assert folders == ["seed-0", "seed-1"]


def test_the_seeds_differ_and_the_untuned_llm_has_learned_nothing(project):
    root, _ = project
    files = [
        root / f"models/ml-100k/{run}/adapter_model.safetensors" for run in ("lora-tiny/seed-0", "lora-tiny/seed-1")
    ]
    assert sha256_of(files[0]) != sha256_of(files[1])
    untuned = load_file(root / "models/ml-100k/untuned-tiny/seed-0/adapter_model.safetensors")
    assert all(weight.abs().max() == 0 for name, weight in untuned.items() if "lora_B" in name)


def test_the_adapter_is_named_as_a_generator_needs_it(project):
    root, said = project
    weights = "models/ml-100k/lora-tiny/seed-0/adapter_model.safetensors"
    assert f"{weights}: sha256 {sha256_of(root / weights)}" in said
    settings = (root / weights).with_name("adapter_config.json").read_text()
    assert json.loads(settings)["base_model_name_or_path"] == "tiny-float32"
    assert str(root) not in settings


def test_a_re_ranked_list_goes_on_with_the_rest_of_the_catalogue(project):
    root, _ = project
    table = read(root / "ranks/ml-100k/popularity-6/lora-tiny.parquet")
    best = pl.read_parquet(root / "data/retrieved/ml-100k/popularity.parquet").with_columns(pl.col("user"))
    joined = table.join(best, on="user")
    assert table["candidates"].unique().to_list() == [len(TITLES)]
    missing = joined.filter(pl.col("place") >= 6)
    assert missing.height > 0
    assert missing["greater"].to_list() == missing["place"].to_list()
    assert joined.filter(pl.col("place") < 6)["greater"].max() < 6
    present = metrics(root, "popularity-6", "lora-tiny.checks")["target_present"]
    assert present == pytest.approx(1 - missing.height / joined.height)


def test_popularity_re_ranked_by_itself_changes_nothing(project):
    """But for ties, which its own ranking breaks and the ranks table counts."""
    root, _ = project
    table = read(root / "ranks/ml-100k/popularity-6/counts.parquet")
    best = pl.read_parquet(root / "data/retrieved/ml-100k/popularity.parquet")
    joined = table.join(best, on="user")
    assert (joined["greater"] <= joined["place"]).all()
    assert (joined["greater"] + joined["equal"] >= joined["place"].clip(upper_bound=5)).all()


def test_those_with_a_full_history_are_counted_apart(project):
    root, _ = project
    pools = pl.read_parquet(root / "data/pools/ml-100k/sampled-4/lora-tiny.parquet").filter(split="test")
    long = pools.filter(pl.col("history").list.len() == 5)
    full = metrics(root, "sampled-4", "lora-tiny.full-history")
    assert 0 < long.height < pools.height
    assert full["users"] == long.height
    ranks = read(root / "ranks/ml-100k/sampled-4/lora-tiny.parquet").filter(
        pl.col("user").is_in(long["user"].to_list())
    )
    assert full["recall@10"] == 1.0
    assert full["mrr"] == pytest.approx((1 / (ranks["greater"] + 1)).mean(), abs=0.02)


def test_pools_that_take_long_are_ranked_for_fewer_users_by_fewer_seeds(project):
    root, _ = project
    table = read(root / "ranks/ml-100k/sampled-7/lora-tiny.parquet")
    assert table["seed"].to_list() == [0, 0, 0]
    assert set(table["user"]) < set(read(root / "ranks/ml-100k/sampled-9/lora-tiny.parquet")["user"])
    assert metrics(root, "sampled-7", "lora-tiny.checks")["checked"] == 2
    signature = metrics(root, "sampled-7", "lora-tiny.signature")
    assert (signature["seeds"], signature["settings"]["prompts"]["others"]) == ([0], 3)


def test_what_was_checked(project):
    root, _ = project
    found = metrics(root, "sampled-9", "lora-tiny.checks")
    assert (found["checked"], found["target_present"], found["free"]["answers"]) == (4, 1.0, 8)
    assert found["orders"]["rank_change"] > 0, "a model with places cannot be blind to order"
    counts = metrics(root, "sampled-9", "counts.checks")
    assert counts["orders"] == {"rank_change": 0.0, "first_changed": 0.0}
    assert counts["free"]["answers"] == 0


def test_the_signature_knows_the_pools_and_the_llm(project):
    root, _ = project
    made = metrics(root, "sampled-4", "lora-tiny.signature")
    assert made["pools"] == sha256_of(root / "data/pools/ml-100k/sampled-4/lora-tiny.parquet")
    assert made["llm"] == tiny.generator("float32").sha256
    assert metrics(root, "sampled-4", "counts.signature")["llm"] is None


def test_no_test_target_is_in_what_was_learned(project):
    root, _ = project
    table = pl.read_parquet(root / "data/pools/ml-100k/sampled-4/lora-tiny.parquet")
    split = pl.read_parquet(root / "data/prepared/ml-100k/split.parquet")
    held_out = {user: {one, other} for user, one, other in split.select("user", "validation", "test").iter_rows()}
    train = table.filter(split="train")
    assert train.height == 16
    for user, history, candidates in train.select("user", "history", "candidates").iter_rows():
        assert not held_out[user] & {*history, *candidates}
