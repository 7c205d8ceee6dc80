"""Recformer's speed: users a second in training and in full-catalogue evaluation, items a second encoded.

Beside it stands a plain reference: transformers' Longformer with the same weights, padded batches of 16 (8 of them a
step), float16 training on a GPU and float32 elsewhere, the cosine with 1,001 candidates gathered for every user, ranks
taken batch by batch. Both must give the same vectors, or nothing is measured. Users are synthetic, with the history
lengths of `scientific`.

    python benchmarks/recformer.py --size minilm

FLOPs are those of the function on real tokens, for both alike: the dense layers below the last, of which CLS alone is
needed, and attention to the window; a training step is three forward passes.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.progress import Progress
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from lamar.console import console, progress, say, user_errors
from lamar.errors import LamarError
from lamar.files import write_json
from lamar.params import RecformerRun
from lamar.recformer.reading import TokenTable, filled
from lamar.recformer.recommender import TEMPERATURE, RecformerRecommender
from lamar.recformer.weights import from_encoder, shape_of
from lamar.text.tokens import KEY, PAD, VALUE, Catalogue
from lamar.training import fit
from lamar.training.examples import Split, draw

SIZES = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "intermediate_size": 3072, "vocab_size": 50265},
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536, "vocab_size": 30522},
}
MAX_TOKENS = 256  # the paper's
MAX_ITEMS = 50
WINDOW = 32
NEGATIVES = 1000
STEP = 128  # users: 16 x 8 in the published code
REFERENCE_BATCH = 16
# Sequences of `scientific`, and items of 33 tokens in the mean: deciles, then the 95th and 99th percentile. Training
# draws positions from whole sequences, 87 tokens in the mean; ranking reads all but their last item, 170 tokens.
SHARES = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1]
ITEMS_A_USER = [5, 5, 5, 5, 6, 6, 6, 7, 8, 10, 13, 20, 80]
TOKENS_AN_ITEM = [6, 23, 27, 30, 32, 34, 36, 38, 40, 42, 44, 47, 51]
AGREEMENT = 1e-5  # relative difference of the vectors that rounding explains


class Reference(nn.Module):
    """The published way, plainly: item positions added to what transformers' Longformer reads."""

    def __init__(self, size: dict[str, int], catalogue: Catalogue) -> None:
        """Random weights of a size in SIZES."""
        from transformers import LongformerConfig, LongformerModel

        super().__init__()
        config = LongformerConfig(
            **size,
            max_position_embeddings=514,
            type_vocab_size=PAD + 1,
            layer_norm_eps=1e-5,
            attention_window=2 * WINDOW,
        )
        self.longformer = LongformerModel(config, add_pooling_layer=False)
        self.item_position = nn.Embedding(MAX_ITEMS + 1, size["hidden_size"])
        self.items = nn.Embedding(len(catalogue), size["hidden_size"]).requires_grad_(False)
        self.texts = TokenTable(catalogue, cls=0, max_items=MAX_ITEMS, max_tokens=MAX_TOKENS, window=WINDOW)
        self.cosine = nn.CosineSimilarity(dim=-1)

    def forward(self, histories: list[np.ndarray]) -> Tensor:
        """Histories -> (users, hidden)."""
        text = self.texts.padded(histories)
        mask = text.layout.real.long()
        seen_by_all = torch.zeros_like(mask)
        seen_by_all[:, 0] = 1
        words = self.longformer.embeddings.word_embeddings(text.ids) + self.item_position(text.items)
        states = self.longformer(
            inputs_embeds=words, token_type_ids=text.types, attention_mask=mask, global_attention_mask=seen_by_all
        )
        return states.last_hidden_state[:, 0]

    def scores(self, vectors: Tensor, candidates: Tensor) -> Tensor:
        """Cosines of (users, hidden) with (users or 1, candidates, hidden)."""
        return self.cosine(vectors[:, None], candidates)


class Plain:
    """The reference's three jobs."""

    def __init__(self, model: Reference) -> None:
        """PyTorch's default AdamW, as published."""
        self.model = model
        self.half = model.items.weight.is_cuda
        self.scaler = torch.amp.GradScaler(enabled=self.half)
        self.optimizer = torch.optim.AdamW(
            [weight for weight in model.parameters() if weight.requires_grad], lr=5e-5, weight_decay=0.0
        )

    def train(self, users: Split) -> None:
        """Steps over all users, 16 at a time in random order."""
        self.model.train()
        for number, rows in enumerate(_chunks(np.random.default_rng(0).permutation(len(users.targets))), start=1):
            drawn = np.random.default_rng(number).integers(self.model.items.num_embeddings, size=(len(rows), NEGATIVES))
            columns = torch.from_numpy(np.hstack([users.targets[rows, None], drawn]))
            with torch.autocast("cuda", torch.float16, enabled=self.half):
                vectors = self.model([users.histories[row] for row in rows])
            candidates = self.model.items(columns.to(vectors.device))
            logits = self.model.scores(vectors.float(), candidates) / TEMPERATURE
            answers = torch.zeros(len(rows), dtype=torch.long, device=vectors.device)
            steps = STEP // REFERENCE_BATCH
            self.scaler.scale(functional.cross_entropy(logits, answers) / steps).backward()
            if number % steps == 0:
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.optimizer.zero_grad()

    @torch.no_grad()
    def encode(self, items: int) -> None:
        """The first items, 16 at a time in their order."""
        self.model.eval()
        for rows in _chunks(np.arange(items)):
            self.model.items.weight[rows] = self.model([np.array([item]) for item in rows])

    @torch.no_grad()
    def rank(self, users: Split) -> list[int]:
        """The rank of every target among all items, read back batch by batch."""
        self.model.eval()
        ranks = []
        for rows in _chunks(np.arange(len(users.targets))):
            vectors = self.model([users.histories[row] for row in rows])
            scores = self.model.scores(vectors, self.model.items.weight[None])
            targets = torch.from_numpy(users.targets[rows]).to(scores.device)
            ranks += (scores > scores.gather(1, targets[:, None])).sum(1).tolist()
        return ranks


class Ours:
    """The same jobs as the training stage does them."""

    def __init__(self, model: RecformerRecommender, settings: RecformerRun) -> None:
        """At the beginning of a training."""
        self.model = model
        self.settings = settings
        self.course = fit.course_of(model, settings, seed=0)

    def train(self, users: Split) -> None:
        """An epoch of the training loop, of the same `users`."""
        self.course.rng = np.random.default_rng(0)
        fit._train_epoch(self.course, 1, None, lambda: None)

    @torch.no_grad()
    def encode(self, items: int) -> None:
        """All items, sorted by length."""
        assert items == len(self.model.items)
        with fit.precision(self.settings):
            self.model.renew()

    def rank(self, users: Split) -> list[int]:
        """The rank of every target among all items."""
        return fit.ranks(self.model, users, self.settings)[0].tolist()


def _chunks(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), REFERENCE_BATCH):
        yield rows[start : start + REFERENCE_BATCH]


def synthetic(users: int, items: int, vocabulary: int) -> tuple[Catalogue, list[np.ndarray], Split]:
    """A catalogue of random tokens, sequences to train on, and what evaluation ranks, one item shorter."""
    rng = np.random.default_rng(0)
    sizes = np.interp(rng.random(items), SHARES, TOKENS_AN_ITEM).astype(int)
    total = int(sizes.sum())
    types = np.where(rng.random(total) < 0.1, KEY, VALUE)
    offsets = np.concatenate([[0], sizes.cumsum()])
    catalogue = Catalogue(rng.integers(4, vocabulary, total), types, np.zeros(total, bool), offsets)
    lengths = np.interp(rng.random(users), SHARES, ITEMS_A_USER).astype(int)
    train = [rng.integers(items, size=length) for length in lengths]
    shorter = [rng.integers(items, size=length - 1) for length in lengths]
    return catalogue, train, Split(shorter, rng.integers(items, size=users))


def both(size: str, catalogue: Catalogue, train: list[np.ndarray], settings: RecformerRun) -> tuple[Ours, Plain]:
    """Ours and the reference with the same random weights, which go through the files of a backbone."""
    torch.manual_seed(0)
    reference = Reference(SIZES[size], catalogue)
    with tempfile.TemporaryDirectory() as folder:
        reference.longformer.save_pretrained(folder)
        model = from_encoder(Path(folder), shape_of(Path(folder), settings.layers, MAX_ITEMS, WINDOW, 0.1, "cls"))
    model.embeddings.item_position.load_state_dict(reference.item_position.state_dict())
    recommender = RecformerRecommender(
        model, catalogue, train, cls=0, max_tokens=MAX_TOKENS, batch=settings.batch, positions_per_user=1,
        negatives=NEGATIVES,
    )  # fmt: skip
    device = fit.device()
    return Ours(recommender.to(device), settings), Plain(reference.to(device))


def settings_of(size: str, batch: int, precision: str) -> RecformerRun:
    """What ours learns with: the published rate, and at least 128 users a step."""
    shape = {"layers": SIZES[size]["num_hidden_layers"], "batch": batch, "accumulate": max(1, STEP // batch)}
    return RecformerRun.model_construct(
        **shape, precision=precision, learning_rate=5e-5, weight_decay=0.0, warmup_steps=100
    )


def drawn_from(train: list[np.ndarray]) -> Split:
    """A position of every user, the same in every epoch."""
    examples = draw(train, 1, 1, np.random.default_rng(0))
    return Split(examples.histories, examples.targets[:, 0])


@torch.no_grad()
def disagreement(ours: Ours, plain: Plain, users: Split) -> float:
    """The largest relative difference of 32 users' unit vectors, both in float32.

    Raises LamarError when rounding does not explain it.
    """
    histories = users.histories[:32]
    ours.model.eval(), plain.model.eval()
    theirs = functional.normalize(plain.model(histories), dim=-1)
    found = float((ours.model._encode(histories) - theirs).norm(dim=-1).max())
    if not found < AGREEMENT:
        raise LamarError(f"the vectors differ from the reference's by {found:.1e}: nothing is measured")
    return found


def first(split: Split, users: int) -> Split:
    """The first users of a split."""
    return Split(split.histories[:users], split.targets[:users])


def flops(size: str, histories: list[np.ndarray], catalogue: Catalogue) -> float:
    """Of one forward pass over these histories."""
    shape, sizes = SIZES[size], np.diff(catalogue.offsets)
    hidden, layers = shape["hidden_size"], shape["num_hidden_layers"] - 1
    tokens = np.array([min(1 + int(sizes[items[-MAX_ITEMS:]].sum()), MAX_TOKENS) for items in histories])
    seen = np.minimum(tokens, 2 * WINDOW + 1)
    dense = 2 * (4 * hidden**2 + 2 * hidden * shape["intermediate_size"])
    return float(layers * (tokens * (dense + 4 * hidden * seen)).sum())


def padding(model: RecformerRecommender) -> float:
    """The share of ours' training tokens that is padding, or fills a packed batch up."""
    lengths = [model.texts.lengths(batch.histories) for batch in model.batches(np.random.default_rng(0))]
    read = [filled(int(own.sum())) if model.texts.packs else len(own) * own.max() for own in lengths]
    return 1 - sum(own.sum() for own in lengths) / sum(read)


def matrix_product(precision: str) -> float:
    """FLOPs a second of a large matrix product in the precision of ours: what this device can do."""
    side = 8192 if fit.device().type == "cuda" else 2048
    left, right = torch.randn(2, side, side, device=fit.device(), dtype=getattr(torch, precision))
    seconds = [timed(lambda: left @ right) for _ in range(10)]
    return 2 * side**3 / min(seconds)


def timed(job: Callable[[], Any]) -> float:
    """Seconds, the device's work included."""
    started = time.perf_counter()
    job()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def peak_of(job: Callable[[], Any]) -> float:
    """GB taken at the most while the job runs, of the GPU or the process: the other way's weights are among them."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        job()
        return torch.cuda.max_memory_reserved() / 1e9  # what graphs keep for themselves is not allocated between them
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    job()
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e9


def measured(
    way: Ours | Plain, drawn: Split, ranked: Split, items: int, rounds: int, bar: Progress
) -> dict[str, float]:
    """Median seconds of training, encoding and ranking, and the memory of training, after a round that nobody times."""
    jobs = {
        "train": lambda: way.train(drawn),
        "encode": lambda: way.encode(items),
        "rank": lambda: way.rank(ranked),
    }
    task = bar.add_task(type(way).__name__, total=len(jobs) * (rounds + 1), note="")
    result = {}
    for name, job in jobs.items():
        bar.update(task, advance=1, note=name)
        peak = peak_of(job)
        result |= {"memory_gb": peak} if name == "train" else {}
        seconds = []
        for _ in range(rounds):
            seconds.append(timed(job))
            bar.update(task, advance=1)
        result[name] = sorted(seconds)[rounds // 2]
    return result


def rates(times: dict[str, float], users: int, items: int, training_flops: float, possible: float) -> dict[str, float]:
    """What people compare."""
    return {
        "train_users_per_second": round(users / times["train"], 1),
        "encode_items_per_second": round(items / times["encode"], 1),
        "rank_users_per_second": round(users / times["rank"], 1),
        "train_memory_gb": round(times["memory_gb"], 2),
        "train_flops_utilisation": round(training_flops / times["train"] / possible, 4),
    }


def shown(result: dict[str, Any]) -> Table:
    """The result as a table."""
    ours, theirs = result["ours"], result["reference"]
    table = Table("", "ours", "reference", "ratio", title=f"{result['size']}, {result['device']}")
    for name in ours:
        table.add_row(
            name.replace("_", " "), f"{ours[name]:,}", f"{theirs[name]:,}", f"{ours[name] / theirs[name]:.2f}"
        )
    return table


@click.command()
@click.option("--size", type=click.Choice(list(SIZES)), default="minilm", show_default=True)
@click.option("--users", default=512, show_default=True)
@click.option("--items", default=5327, show_default=True, help="In the catalogue; the paper's is this large.")
@click.option("--reference-users", type=int, help="That the reference learns and ranks.  [default: all]")
@click.option("--reference-items", type=int, help="That the reference encodes.  [default: all]")
@click.option("--compiled", is_flag=True, help="Let PyTorch compile our layers.")
@click.option("--batch", default=None, type=int, help="Of ours; 128 users a step in any case.  [default: 128, CPU: 32]")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="bfloat16", show_default=True)
@click.option("--rounds", default=3, show_default=True, help="The median counts.")
@user_errors
def main(
    size: str, users: int, items: int, reference_users: int | None, reference_items: int | None, compiled: bool,
    batch: int | None, precision: str, rounds: int,
) -> None:  # fmt: skip
    """Print the table and write benchmarks/results/recformer-SIZE-DEVICE.json."""
    device = fit.device().type
    batch = batch or {"cuda": STEP, "cpu": 32}[device]  # a GPU is filled by many, a CPU's caches by few
    settings = settings_of(size, batch, precision)
    catalogue, train, ranked = synthetic(users, items, SIZES[size]["vocab_size"])
    ours, plain = both(size, catalogue, train, settings)
    difference = disagreement(ours, plain, ranked)
    if compiled:
        ours.model.model.compile_layers()
    drawn = drawn_from(train)
    possible = matrix_product(precision)
    result = {
        "size": size,
        "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "users": users,
        "items": items,
        "reference_users": reference_users or users,
        "reference_items": reference_items or items,
        "batch": batch,
        "compiled": compiled,
        "precision": precision,
        "difference": difference,
        "padding_share": round(padding(ours.model), 4),
        "matrix_product_tflops": round(possible / 1e12, 3),
    }
    sides = [("ours", ours, users, items), ("reference", plain, result["reference_users"], result["reference_items"])]
    with progress() as bar:
        for name, way, some, encoded in sides:
            learned, sought = first(drawn, some), first(ranked, some)
            times = measured(way, learned, sought, encoded, rounds, bar)
            training = 3 * flops(size, learned.histories, catalogue)
            result[name] = rates(times, some, encoded, training, possible)
    write_json(Path(f"benchmarks/results/recformer-{size}-{device}.json"), result)
    console.print(shown(result))
    say(json.dumps(result))


if __name__ == "__main__":
    main()
