"""backbone: fetch a text encoder that Recformer starts from, or that measures how alike texts are."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.data.sources import fetch_files


@click.command()
@click.argument("backbone")
@user_errors
def main(backbone: str) -> None:
    """Write models/backbones/BACKBONE/: config.json, tokenizer.json and the weights."""
    wanted = params.entry(params.load().backbones, "backbone", backbone)
    folder = Path("models/backbones", backbone)
    known = {wanted.weights: wanted.sha256} if wanted.sha256 else {}
    hashes = fetch_files(wanted.sources, folder, known)
    if not known:
        found = hashes[wanted.weights]
        say(f"WARNING: {backbone} was never seen before, so it is unchecked: set backbones.{backbone}.sha256: {found}")
    say(f"{backbone}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


if __name__ == "__main__":
    main()
