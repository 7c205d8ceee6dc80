"""Two processes fine-tune an adapter as one does with the same batches."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
import worker
import yaml
from test_ranker_stages import run_stages, write_project
from together import Left, Together, launch

from lamar import launch as launching
from lamar.errors import LamarError
from lamar.rankers.kinds import KINDS

TUNE = ("tune", "ml-100k", "lora-tiny")
CHANGES = {"batch": 5, "accumulate": 2, "dropout": 0.0, "warmup_steps": 2, "epochs": 3, "patience": 3}
CHANGES["micro_batch"] = "auto"
ROOM = 2  # prompts in the memory of each process; 4 in that of one process alone: both read 4 and 1 of a batch of 5
TRIED = 2  # losses by which this is found, before the first epoch that a process trains
EPOCH = 7  # losses: of 4 and 1 prompts, three times, and of 1; the second process has no share of a single one
CUT = TRIED + 2 * EPOCH + 2  # the loss at which the second process fails
THERE = {"models/ml-100k/popularity/seed-0.safetensors"}  # before anything is tuned
ADAPTERS = [f"models/ml-100k/lora-tiny/seed-{seed}/adapter_model.safetensors" for seed in (0, 1)]


@pytest.fixture(scope="module")
def tunings(tmp_path_factory, tiny_cache) -> Together:
    folder = tmp_path_factory.mktemp("tuned-together")
    alone, main, second = (Left(folder / name) for name in ("alone", "0", "1"))
    alone.folder.mkdir()
    write_project(alone.folder)
    params = yaml.safe_load((alone.folder / "params.yaml").read_text())
    params["runs"]["lora-tiny"] |= CHANGES
    (alone.folder / "params.yaml").write_text(yaml.safe_dump(params))
    run_stages(alone.folder, tiny_cache, [("sequences", "lora-tiny"), ("pools", "lora-tiny", "sampled-4")])
    for left in (main, second):
        shutil.copytree(alone.folder, left.folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LAMAR_CACHE", str(tiny_cache))
        worker.run(alone.folder, *TUNE, room=2 * ROOM)
        cut = launch(folder, TUNE, cut=CUT, room=ROOM)
        files = main.written(), second.written()
        return Together(alone, main, second, cut, files, launch(folder, TUNE, room=ROOM))


def test_every_loss_is_that_of_one_process_though_it_was_cut_off(tunings):
    expected = tunings.alone.losses("tune")
    seed = TRIED + 3 * EPOCH
    assert len(expected) == 2 * seed
    first, other = expected[TRIED:seed], expected[seed + TRIED :]
    for left in (tunings.main, tunings.second):
        losses = left.losses("tune")
        cut, went_on = losses[TRIED : CUT - 1], losses[CUT - 1 :]
        assert cut == pytest.approx(first[: CUT - 1 - TRIED], rel=1e-5)
        last_epoch = TRIED + EPOCH
        assert went_on[TRIED:last_epoch] == pytest.approx(first[2 * EPOCH :], rel=1e-5)
        assert went_on[last_epoch + TRIED :] == pytest.approx(other, rel=1e-5)


@pytest.mark.parametrize("path", ADAPTERS)
def test_the_adapters_agree(tunings, path):
    weights, expected = (left.weights(path) for left in (tunings.main, tunings.alone))
    assert weights.keys() == expected.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, expected[name], rtol=1e-3, atol=1e-4, msg=name)
    assert all(weight.abs().max() > 0.01 for name, weight in weights.items() if "lora_B" in name)  # zeros at the start


def test_the_learning_curves_agree(tunings):
    path = "metrics/ml-100k/curves/lora-tiny.csv"
    np.testing.assert_allclose(tunings.main.curve(path), tunings.alone.curve(path), rtol=1e-5)


def test_the_main_process_alone_writes(tunings):
    assert tunings.done.returncode == 0, tunings.done.stderr
    assert tunings.main.written() == tunings.alone.written()
    settings = [path.replace("model.safetensors", "config.json") for path in ADAPTERS]
    assert tunings.alone.written() - THERE == {*ADAPTERS, *settings, "metrics/ml-100k/curves/lora-tiny.csv"}
    assert tunings.second.written() == THERE
    assert tunings.cut_files == (THERE | {".checkpoints/ml-100k/lora-tiny/seed-0-stage-1.safetensors"}, THERE)


def test_one_process_speaks(tunings):
    assert tunings.done.stderr.count(f"micro_batch: {ROOM} of 5 rows at once") == 2  # for each seed
    assert f"error: loss {CUT} fails\n" in tunings.cut.stderr
    for path in ADAPTERS:
        assert tunings.done.stderr.count(f"{path}: sha256 ") == 1


def test_a_batch_of_fewer_prompts_than_processes(monkeypatch):
    monkeypatch.setattr(launching, "processes", lambda: 4)
    run = type("Run", (), {"batch": 2})
    with pytest.raises(LamarError, match="batch: 2 prompts are too few for 4 processes"):
        KINDS["lora"].learn(None, None, run, None, 0, None)
