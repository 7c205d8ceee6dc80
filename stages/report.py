"""report: every committed result on one page, and the same numbers as JSON."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.files import write_json, written_whole
from lamar.report.chapter import chapters
from lamar.report.page import render, summary
from lamar.report.provenance import origins


@click.command()
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page alone, to this file, and name the commits that have its numbers.",
)
@user_errors
def main(page: Path | None) -> None:
    """Write report/index.html and report/summary.json from metrics/, ranks/ and, for signals and items, data/."""
    chosen = params.load()
    contents = chapters(Path(), chosen)
    known = origins(Path(), "metrics", "ranks", commits=page is not None)
    written = page or Path("report/index.html")
    with written_whole(written) as unfinished:
        unfinished.write_text(render(contents, Path(), known, chosen.buckets.min_users), encoding="utf-8")
    if page is None:
        write_json(Path("report/summary.json"), summary(contents))
    found = ", ".join(f"{len(chapter.results)} results on {chapter.name}" for chapter in contents)
    say(f"{written}: {found}; open it in a browser")


if __name__ == "__main__":
    main()
