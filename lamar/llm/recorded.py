"""Answers that somebody paid for: dvc.lock knows them, wherever they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

from lamar.errors import LamarError
from lamar.params import AnyGenerator, RemoteGenerator


def stop_before_paying_again(kept: Path, generator: AnyGenerator) -> None:
    """Raise LamarError when dvc.lock knows paid answers in `kept`, an out of a stage, that are not there."""
    if not (isinstance(generator, RemoteGenerator) and any(generator.prices)):
        return
    here = hashlib.md5(kept.read_bytes()).hexdigest() if kept.exists() else ""  # as DVC names its objects
    stage, recorded = _recorded(kept)
    if stage and recorded != here:
        raise LamarError(
            f"{kept}: its answers are paid for (dvc.lock), but not here; bring them with: dvc pull {stage} (it needs "
            f"a remote that somebody pushed them to). To pay for them again, remove {stage} from dvc.lock"
        )


def _recorded(path: Path) -> tuple[str, str]:
    """The stage that wrote an out and the out's md5, as dvc.lock says; both '' where it does not."""
    lock = Path("dvc.lock")
    stages = (yaml.safe_load(lock.read_text()) or {}).get("stages", {}) if lock.exists() else {}
    outs = [(stage, out) for stage, made in stages.items() for out in made.get("outs", [])]
    return next(((stage, out["md5"]) for stage, out in outs if out["path"] == str(path)), ("", ""))
