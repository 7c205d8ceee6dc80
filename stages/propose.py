"""propose: find the signal to ask an LLM for, and write the prompt that asks; a pinned prompt is taken as it is.

A proposal that was made stays (`persist`) until another model, strategy, setting or dataset is named: with another
prompt, every answer of the catalogue would be asked for again.
"""

from collections.abc import Sequence
from pathlib import Path

import click

from lamar import params
from lamar.console import say, user_errors
from lamar.llm import journal, provider
from lamar.llm.journal import Answer
from lamar.llm.usage import usage
from lamar.params import AnyGenerator, OpenaiGenerator
from lamar.signals import generate
from lamar.signals.prompt import Messages, proposal_path
from lamar.signals.proposal import is_made, made_from, propose, write_proposal


@click.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def main(dataset: str, generator: str) -> None:
    """Write data/proposals/DATASET/GENERATOR.json."""
    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    writer = params.entry(chosen.generators, "generator", generator)
    strategy, path = chosen.propose.strategies.get(generator), proposal_path(dataset, generator)
    thinker = thinking(writer, chosen.propose.max_tokens)
    made = made_from(provider.identity(thinker), dataset, source, strategy, chosen.propose)
    if is_made(path, made):
        return say(f"{path}: stays as it is; delete it for another proposal")
    known: dict[str, Answer] = {}  # what was asked so far; it counts on the budget

    def ask(chats: Sequence[Messages]) -> list[Answer]:
        asked = [generate.Question("", journal.key_of(provider.identity(thinker), chat), chat) for chat in chats]
        earlier = [generate.Question("", key, ()) for key in known]
        known.update(generate.answers(asked, dataset, generator, thinker, chosen.generate, earlier=earlier))
        return [known[question.key] for question in asked]

    items = generate.read_items(Path("data/prepared", dataset))
    proposal = propose(ask, dataset, items, source, strategy, chosen.propose, chosen.signals)
    write_proposal(path, proposal, made)
    if known:
        took = usage(known.values(), thinker)
        tokens = took["input_tokens"] + took["output_tokens"]
        say(f"{dataset}: proposed in {took['requests']} answers, {tokens:,} tokens, ${took['cost_usd']:.4f}")
    return say(f"{dataset}: {generator} is asked for {proposal.prompt.signal} ({proposal.strategy})")


def thinking(writer: AnyGenerator, max_tokens: int) -> AnyGenerator:
    """Who proposes: live, because every question waits for the answer to the one before it."""
    live = {"mode": "live"} if isinstance(writer, OpenaiGenerator) else {}
    return writer.model_copy(update={"max_tokens": max_tokens, **live})


if __name__ == "__main__":
    main()
