"""Which results are worth comparing: a run with signals against the same model without them, or under a control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Signature = Mapping[str, Any]  # what `evaluate` writes beside the metrics of a run


def pairs(signatures: Mapping[str, Signature]) -> list[tuple[str, str]]:
    """(run, base) of every run with true signals and each of its bases, in the order of `signatures` (by run)."""
    return [
        (run, base)
        for run, made in signatures.items()
        if made["signals"] and made["control"] == "none"
        for base, other in signatures.items()
        if is_base(other, made)
    ]


def distinct(compared: Sequence[tuple[str, str]], repeats: Mapping[str, str]) -> list[tuple[str, str]]:
    """The pairs without those that would be the same comparison once more; repeats: run -> the run that it equals."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for new, base in compared:
        found.setdefault((repeats.get(new, new), repeats.get(base, base)), (new, base))
    return list(found.values())


def is_base(base: Signature, new: Signature) -> bool:
    """The same model, settings and seeds, with no signals, or with the same ones under a control."""
    if any(base[key] != new[key] for key in ("model", "settings", "seeds")):
        return False
    controlled = base["control"] != "none"
    return not base["signals"] or (controlled and base["signals"] == new["signals"])
