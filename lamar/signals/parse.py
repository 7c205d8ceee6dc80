"""From an LLM's answer to the text of a signal: one line, without labels, quotes and markdown.

No LLM is asked here, so these rules can change without paying again. Whether the text is kept is decided elsewhere
(`lamar/signals/keep.py`).
"""

from __future__ import annotations

import re

MARKDOWN = re.compile(r"```\w*|\*\*|__|`|(?<!\w)\*(?=\w)|(?<=[\w.!?])\*(?!\w)")
BULLET = re.compile(r"^(?:[-*•>]|#+|\d{1,2}[.)])\s+")
ANNOUNCED = re.compile(
    r"^(?:(?:sure|certainly|of course|okay)\b[!,.]?\s*)?here(?:['’]s| is| are)\b[^:]{0,80}:\s*", re.I
)
QUOTED = re.compile(r"\"([^\"]*)\"|“([^“”]*)”|‘([^‘]*)’|'((?:[^']|(?<=\w)'(?=\w))*)'")


def clean(text: str, name: str) -> str:
    """One line of text without markdown, a label (the signal's own `name`, Output:, Answer:) or surrounding quotes."""
    line = " ".join(MARKDOWN.sub("", text).split())
    own = re.escape(name).replace("'", "['’]")
    label = re.compile(rf"^(?:{own}\s*(?::|[-–—](?=\s))|(?:output|answer|signal)\s*:)\s*", re.I)
    while (shorter := _peel(line, label)) != line:
        line = shorter
    return line


def _peel(line: str, label: re.Pattern[str]) -> str:
    """The line without its outermost bullet, announcement, label and quotes."""
    for wrapping in (BULLET, ANNOUNCED, label):
        line = wrapping.sub("", line).strip()
    quoted = QUOTED.fullmatch(line)
    return next(filter(None, quoted.groups()), "").strip() if quoted else line
