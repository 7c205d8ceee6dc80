"""generate: ask an LLM for the signal of every item of a dataset.

Its answers are the out that is pushed and pulled. The last ones stay while the stage runs (`persist`), because they are
read like a journal: what another machine has paid for is not asked again.
"""

from pathlib import Path

import click

from lamar import params
from lamar.console import user_errors
from lamar.engine import ENGINES
from lamar.files import write_json
from lamar.llm.recorded import stop_before_paying_again
from lamar.llm.usage import usage
from lamar.signals import generate
from lamar.signals.prompt import answers_of, proposal_path, read_prompt


@click.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def main(dataset: str, generator: str) -> None:
    """Write data/responses/DATASET/GENERATOR.jsonl and metrics/DATASET/GENERATOR/usage.json.

    Only what no journal holds is asked. What the answers took to which the prompt is owed counts, too.
    """
    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    writer = params.entry(chosen.generators, "generator", generator)
    items = generate.read_items(Path("data/prepared", dataset))
    proposal = proposal_path(dataset, generator)
    prompt = read_prompt(proposal)
    asked = generate.questions(items, source.attributes, prompt, writer)
    if not {question.key for question in asked} <= generate.known_answers(dataset, generator, writer).keys():
        stop_before_paying_again(generate.responses_path(dataset, generator), writer)
    thought = [generate.Question("", key, ()) for key in sorted(answers_of(proposal))]
    engine = ENGINES[chosen.engine]
    answered = generate.answers(asked, dataset, generator, writer, chosen.generate, earlier=thought, engine=engine)
    generate.write_responses(asked, answered, generate.responses_path(dataset, generator))
    known = generate.known_answers(dataset, generator, writer)
    took = answered | {question.key: known[question.key] for question in thought if question.key in known}
    write_json(Path(f"metrics/{dataset}/{generator}/usage.json"), usage(took.values(), writer))


if __name__ == "__main__":
    main()
