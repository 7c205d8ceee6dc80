"""generate: ask an LLM for the signal of every item of a dataset.

Its answers are the out that is pushed and pulled. The last ones stay while the stage runs (`persist`), because they are
read like a journal: what another machine has paid for is not asked again.
"""

import hashlib
from pathlib import Path

import click
import yaml

from lamar import params
from lamar.console import user_errors
from lamar.errors import LamarError
from lamar.files import write_json
from lamar.llm.usage import usage
from lamar.params import AnyGenerator, RemoteGenerator
from lamar.signals import generate
from lamar.signals.prompt import read_prompt


@click.command()
@click.argument("dataset")
@click.argument("generator")
@user_errors
def main(dataset: str, generator: str) -> None:
    """Write data/responses/DATASET/GENERATOR.jsonl and metrics/DATASET/GENERATOR/usage.json.

    Only what no journal holds is asked.
    """
    chosen = params.load()
    source = params.entry(chosen.datasets, "dataset", dataset)
    writer = params.entry(chosen.generators, "generator", generator)
    items = generate.read_items(Path("data/prepared", dataset))
    prompt = read_prompt(Path(f"data/proposals/{dataset}/{generator}.json"))
    asked = generate.questions(items, source.attributes, prompt, writer)
    if not {question.key for question in asked} <= generate.known_answers(dataset, generator, writer).keys():
        stop_before_paying_again(dataset, generator, writer)
    answered = generate.answers(asked, dataset, generator, writer, chosen.generate)
    generate.write_responses(asked, answered, generate.responses_path(dataset, generator))
    write_json(Path(f"metrics/{dataset}/{generator}/usage.json"), usage(answered.values(), writer))


def stop_before_paying_again(dataset: str, generator: str, writer: AnyGenerator) -> None:
    """Raise LamarError when somebody has paid for answers that dvc.lock knows and that are not here."""
    if not (isinstance(writer, RemoteGenerator) and any(writer.prices)):
        return
    stage = f"generate@{dataset}-{generator}"
    path = generate.responses_path(dataset, generator)
    here = hashlib.md5(path.read_bytes()).hexdigest() if path.exists() else ""  # as DVC names its objects
    if here != recorded(stage, path).get("md5", here):
        raise LamarError(
            f"{path}: its answers are paid for (dvc.lock), but not here; bring them with: dvc pull {stage} (it needs "
            f"a remote that somebody pushed them to). To pay for them again, remove {stage} from dvc.lock"
        )


def recorded(stage: str, path: Path) -> dict[str, str]:
    """What dvc.lock says of an out of a stage; nothing when the stage never ran."""
    lock = Path("dvc.lock")
    stages = (yaml.safe_load(lock.read_text()) or {}).get("stages", {}) if lock.exists() else {}
    outs = stages.get(stage, {}).get("outs", [])
    return next((out for out in outs if out["path"] == str(path)), {})


if __name__ == "__main__":
    main()
