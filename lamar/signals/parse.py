"""From an LLM's answer to a signal: cleaned, and kept only when it says something (paper section 3.1).

No LLM is asked here, so these rules can change without paying again.
"""

from __future__ import annotations

import re

from lamar.params import SignalRules

REFUSAL = re.compile(r"\b(as an ai|i(['’]m| am) (sorry|unable)|i (cannot|can['’]t)|language model)\b", re.IGNORECASE)
WRAPPING = "\"'“”‘’*` "


def clean(text: str, name: str) -> str:
    """One line of text without the signal's own name, markdown emphasis or surrounding quotes."""
    line = " ".join(text.split()).strip(WRAPPING)
    named = re.escape(name).replace("'", "['’]")
    return re.sub(rf"^{named}[*_]*\s*(:|[-–—](?=\s))", "", line, flags=re.IGNORECASE).strip(WRAPPING)


def problem(signal: str, title: str, finish_reason: str, rules: SignalRules) -> str | None:
    """Why a cleaned signal is not kept; None when it is."""
    words = len(signal.split())
    checks = {
        "empty": words == 0,
        "truncated": finish_reason != "stop",
        "refusal": bool(REFUSAL.search(signal)),
        "too short": words < rules.min_words,
        "too long": words > rules.max_words,
        "repeats the title": signal.casefold().strip(".") == title.casefold().strip("."),
    }
    return next((reason for reason, found in checks.items() if found), None)
