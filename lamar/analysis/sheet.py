"""The rating sheet as a page for a browser: self-contained, no network, progress kept, exported as CSV."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

import polars as pl

from lamar.analysis.ratings import ANSWERS, JUDGE, QUESTIONS

HERE = Path(__file__).parent


def sheet_page(dataset: str, generator: str, sheet: pl.DataFrame) -> str:
    """The page as HTML. Texts are anybody's: they travel as JSON that cannot end its script, and become text nodes."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    script = (HERE / "sheet.js").read_text(encoding="utf-8")
    data = {
        "sheet": f"{dataset}-{generator}",
        "columns": sheet.columns,
        "rows": sheet.rows(),
        "questions": QUESTIONS,
        "answers": ANSWERS,
        "judge": JUDGE,
    }
    text = json.dumps(data, ensure_ascii=False)
    environment = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("sheet.html").render(
        dataset=dataset,
        generator=generator,
        count=sheet.height,
        data=text.replace("<", "\\u003c"),
        identity=sha256(text.encode()).hexdigest()[:16],  # another sheet never continues this one's answers
        script=script,
        allowed=b64encode(sha256(script.encode()).digest()).decode(),
    )
