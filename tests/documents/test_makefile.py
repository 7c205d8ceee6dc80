"""What the Makefile's long targets run, written out: every name in it is one of params.yaml."""

import re
import shutil
import subprocess

import pytest
from commands import REPOSITORY

from lamar import params

LONG = ["converged", "scientific", "whole", "pretrained", "baselines", "rankers", "tuned", "others"]
TOLD = "python() { echo python $*; }\n"  # in the place of what would train for hours


def recipe(target: str) -> str:
    """What make would run for a target alone."""
    command = ["make", "-n", "--no-print-directory", "-o", "env", "-o", "repro", target]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("target", LONG)
def test_long_targets_name_what_there_is(target: str) -> None:
    shell = [shutil.which("bash"), "-e", "-c", TOLD + recipe(target)]  # without a PATH it finds no program to run
    told = subprocess.run(shell, env={"PATH": ""}, capture_output=True, text=True, check=True).stdout
    stages = [line.split()[1:] for line in told.splitlines() if line.startswith("python stages/")]
    assert len(stages) > 5
    chosen = params.load(REPOSITORY / "params.yaml")
    tables = (chosen.datasets, chosen.generators, chosen.backbones, chosen.runs, chosen.pretrained, chosen.pools)
    for stage, *names in stages:
        assert (REPOSITORY / stage).is_file()
        assert [name for name in names if not any(name in table for table in tables)] == []


def test_every_long_target_is_tested() -> None:
    targets = re.findall(r"^([a-z]+):.*##", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    assert {target for target in targets if recipe(target).count("stages/") > 2} == set(LONG)
