"""Engines without a cluster: the order of results, and that nobody who does not ask for Ray meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lamar.engine import ENGINES, here, in_order
from lamar.errors import LamarError
from lamar.params import Params, load

REPOSITORY = Path(__file__).parents[1]


def test_results_come_in_the_order_of_the_blocks_however_they_arrive() -> None:
    arrived = iter([(2, "c"), (0, "a"), (3, "d"), (1, "b")])
    results = in_order(arrived)
    assert next(results) == "a"
    assert next(arrived) == (3, "d"), "what is due is handed on before more is taken"
    assert list(results) == ["b", "c"]


def test_here_loads_once_and_takes_one_block_after_the_other() -> None:
    said = []

    def load():
        said.append("load")
        return lambda block: said.append(block) or block * 2

    results = here(lambda: iter("ab"), load)
    assert next(results) == (0, "aa")
    assert said == ["load", "a"]
    assert list(results) == [(1, "bb")]


def test_every_engine_of_the_settings_is_there() -> None:
    assert set(ENGINES) == set(Params.model_fields["engine"].annotation.__args__)
    assert load(REPOSITORY / "params.yaml").engine == "local"


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "lamar.cluster", raising=False)
    with pytest.raises(
        LamarError, match=r"engine: ray: no module ray; pip install 'lamar\[ray\]', or set engine: local"
    ):
        list(ENGINES["ray"](list, lambda: len))


def test_the_local_engine_does_not_import_ray() -> None:
    stages = ("prepare", "generate", "embeddings", "encode", "transfer")
    loads = "".join(f"runpy.run_path('stages/{stage}.py')\n" for stage in stages)
    program = f"import runpy, sys\n{loads}from lamar import transfer\nassert 'ray' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, check=True)


def test_no_stage_depends_on_the_engine() -> None:
    """Its outputs do not: another engine makes nothing anew."""
    stages = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]
    assert [name for name, stage in stages.items() if "engine" in stage.get("params", [])] == []
