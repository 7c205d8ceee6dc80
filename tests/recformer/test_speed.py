"""What docs/recformer.md says of speed is what the benchmarks wrote, and kernels are told apart."""

import re
from pathlib import Path

import pytest
import recformer_steps as steps
import torch
from click.testing import CliRunner

from lamar.files import read_json

REPOSITORY = Path(__file__).parents[2]
RESULTS = REPOSITORY / "benchmarks/results"
RATES = ("train_users_per_second", "encode_items_per_second", "rank_users_per_second")


@pytest.fixture
def rows() -> list[str]:
    page = (REPOSITORY / "docs/recformer.md").read_text()
    table = page[page.index("| | now |") :].split("\n\n")[0]
    return [re.sub(r"[ ,*]", "", row) for row in table.splitlines()]


def beside(size: str) -> list[list[str]]:
    """Ours, the reference's and the ratio of each rate."""
    found = read_json(RESULTS / f"recformer-{size}-cuda.json")
    own, theirs = found["ours"], found["reference"]
    return [[f"{own[name]:.0f}", f"{theirs[name]:.0f}", f"{own[name] / theirs[name]:.0f}"] for name in RATES]


def test_the_page_has_what_was_measured(rows):
    now = read_json(RESULTS / "recformer-steps-cuda.json")["ours"]
    published, small = beside("base"), beside("minilm")
    for name, measured in zip(RATES, published, strict=True):
        assert any(row.endswith("|".join(["", f"{now[name]:.0f}", *measured, ""])) for row in rows), name
    for measured in small:
        assert any(row.endswith("|".join(["", "", *measured, ""])) for row in rows), measured


def test_the_page_has_what_was_measured_on_two_cores():
    found = read_json(RESULTS / "recformer-minilm-cpu.json")
    page = (REPOSITORY / "docs/recformer.md").read_text()
    for name in RATES:
        own, theirs = found["ours"][name], found["reference"][name]
        assert f"| {own} | {theirs} | {own / theirs:.1f} |" in page, name


def test_a_kernel_belongs_to_a_part():
    found = {
        "nvjet_sm90_tst_192x192": "matrix products",
        "attend_key_gradient": "windows",
        "cls_pool": "CLS",
        "triton_poi_fused_gelu_12": "norms, dropout, GELU, sums, casts, as compiled",
        "Memset (Unknown)": steps.OTHER,
    }
    assert {name: steps.part_of(name) for name in found} == found


def test_shares_are_of_one_step_and_short_kernels_are_not_told_apart():
    kernels = {"attend": (4, 8.0), "cls_pool": (4, 2.0)} | {f"nvjet_{n}": (1, 1.0) for n in range(steps.LONGEST)}
    found = steps.shares(kernels, steps=2)
    assert found == {"matrix products": (steps.LONGEST - 2) / 2, "windows": 4.0, "CLS": 1.0, steps.SHORT: 1.0}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_it_says_that_it_needs_a_gpu():
    ended = CliRunner().invoke(steps.main)
    assert ended.exit_code == 1
    assert "no GPU here" in ended.output
