"""report: every committed result on one page, and the same numbers as JSON."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_json, written_whole
from lamar.report.page import chapters, render, summary


@click.command()
@user_errors
def main() -> None:
    """Write report/index.html and report/summary.json from metrics/ and, for the example signals, data/."""
    contents = chapters(Path(), params.load())
    with written_whole(Path("report/index.html")) as unfinished:
        unfinished.write_text(render(contents), encoding="utf-8")
    write_json(Path("report/summary.json"), summary(contents))
    found = ", ".join(f"{len(chapter.results)} results on {chapter.name}" for chapter in contents)
    say(f"report/index.html: {found}; open it in a browser")


if __name__ == "__main__":
    main()
