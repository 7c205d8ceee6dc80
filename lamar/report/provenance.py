"""Which revision made a committed file: the last one that changed it."""

from __future__ import annotations

import subprocess
from pathlib import Path

UNCOMMITTED = "not committed"


def revisions(root: Path, folder: str) -> dict[str, str]:
    """File below `folder` -> short hash of the last revision that changed it; empty outside of git.

    A file with changes that are not committed is `UNCOMMITTED`.
    """
    log = _git(root, "log", "--format=commit %h", "--name-only", "--no-renames", "--relative", "--", folder)
    found: dict[str, str] = {}
    revision = ""
    for line in log:
        if line.startswith("commit "):
            revision = line.removeprefix("commit ")
        elif line:
            found.setdefault(line, revision)
    changed = _git(root, "diff", "--name-only", "--relative", "HEAD", "--", folder) if found else []
    return found | dict.fromkeys(changed, UNCOMMITTED)


def _git(root: Path, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.splitlines()
