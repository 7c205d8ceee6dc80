"""propose: find the signal to ask an LLM for, and write the prompt that asks; a pinned prompt is taken as it is."""

from collections.abc import Sequence
from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.llm import journal, local
from lamar.llm.journal import Answer
from lamar.signals import generate
from lamar.signals.prompt import Messages
from lamar.signals.proposal import propose, write_proposal


@click.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def main(dataset: str, generator: str) -> None:
    """Write data/proposals/DATASET/GENERATOR.json."""
    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    writer = params.entry(chosen.generators, "generator", generator)
    thinker = writer.model_copy(update={"max_tokens": chosen.propose.max_tokens})

    def ask(chats: Sequence[Messages]) -> list[Answer]:
        asked = [generate.Question("", journal.key_of(local.identity(thinker), chat), chat) for chat in chats]
        answered = generate.answers(asked, dataset, generator, thinker, chosen.generate.batch)
        return [answered[question.key] for question in asked]

    items = generate.read_items(Path("data/prepared", dataset))
    strategy = chosen.propose.strategies.get(generator)
    proposal = propose(ask, dataset, items, source, strategy, chosen.propose, chosen.signals)
    write_proposal(Path(f"data/proposals/{dataset}/{generator}.json"), proposal)
    say(f"{dataset}: {generator} is asked for {proposal.prompt.signal} ({proposal.strategy})")


if __name__ == "__main__":
    main()
