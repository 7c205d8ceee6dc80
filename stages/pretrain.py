"""pretrain: make a backbone of one's own: a Recformer pre-trained on other datasets, or on the same one.

Progress is kept in .checkpoints after every epoch, as in `train`.
"""

import click

from lamar import params
from lamar.console import user_errors


@click.command()
@click.argument("name")
@user_errors
def main(name: str) -> None:
    """Write models/pretrained/NAME/: config.json, tokenizer.json, model.safetensors and curve.csv."""
    from lamar.recformer.pretrain import pretrain

    chosen = params.load()
    params.entry(chosen.pretrained, "pre-trained model", name)
    pretrain(chosen, name)


if __name__ == "__main__":
    main()
