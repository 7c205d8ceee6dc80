"""backbone: fetch a text encoder that Recformer starts from."""

from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.data.sources import fetch_files


@click.command()
@click.argument("backbone")
@user_errors
def main(backbone: str) -> None:
    """Write models/backbones/BACKBONE/: config.json, model.safetensors, tokenizer.json."""
    wanted = params.entry(params.load().backbones, "backbone", backbone)
    folder = Path("models/backbones", backbone)
    fetch_files(wanted.sources, folder, {"model.safetensors": wanted.sha256})
    say(f"{backbone}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


if __name__ == "__main__":
    main()
