"""Mistakes a user can mend: shown as one line, without a traceback."""

from __future__ import annotations


class LamarError(Exception):
    """Names the file, line or key that is wrong and what to do about it, in one line."""
