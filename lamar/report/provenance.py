"""Where the numbers of the page come from: which content of which file, and which commit has it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from lamar.files import sha256_of

UNCOMMITTED = "not committed"


def origins(root: Path, *folders: str, commits: bool) -> dict[str, str]:
    """File below one of `folders` -> "sha256 0123456789ab", with `commits` followed by ", committed in 0123abc".

    Commits are those that last changed the files. They are no part of what the pipeline makes of its inputs: whoever
    asks for them must ask again after committing. Outside of git and in shallow clones nobody knows them.
    """
    known = _commits(root, folders) if commits else {}
    paths = sorted(path for folder in folders for path in (root / folder).rglob("*") if path.is_file())
    names = {path.relative_to(root).as_posix(): sha256_of(path)[:12] for path in paths}
    return {name: f"sha256 {digest}{_in_words(known.get(name))}" for name, digest in names.items()}


def _in_words(commit: str | None) -> str:
    if commit is None:
        return ""
    return f", {UNCOMMITTED}" if commit == UNCOMMITTED else f", committed in {commit}"


def _commits(root: Path, folders: Sequence[str]) -> dict[str, str]:
    """File below `folders` -> short hash of the last commit that changed it, UNCOMMITTED where it was changed since."""
    if _git(root, "rev-parse", "--is-shallow-repository") != ["false"]:
        return {}
    found: dict[str, str] = {}
    commit = ""
    for line in _git(root, "log", "--format=commit %h", "--name-only", "--no-renames", "--relative", "--", *folders):
        if line.startswith("commit "):
            commit = line.removeprefix("commit ")
        elif line:
            found.setdefault(line, commit)
    changed = _git(root, "diff", "--name-only", "--relative", "HEAD", "--", *folders) if found else []
    new = _git(root, "ls-files", "--others", "--", *folders)
    return found | dict.fromkeys([*changed, *new], UNCOMMITTED)


def _git(root: Path, *arguments: str) -> list[str]:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return []
    return done.stdout.splitlines()
