"""Train a model of RecBole 1.2.1, in an environment of its own, and rank the test items with it.

`benchmarks/references.py` writes the data and runs this; nothing of the project can be imported here. Dataset, split,
model and trainer are RecBole's own. What is not:

- numpy 2 has no `float_`, `complex_` and `unicode_`, of which RecBole makes aliases: they are put back before.
- pandas 3 has `agg(len)` count the rows of a column; RecBole wants the length of each.
- `recbole.quick_start` is not used: it imports Ray 2.6.3, which asks numpy for `bool8`.
- The weights of the best epoch are kept in memory. RecBole writes them, with its settings, as a pickle that PyTorch 2.6
  and later refuse to read.
- Ranks are counted from `full_sort_predict`, and metrics of test items are computed where the project computes its own.
- S3Rec's two stages follow one another in one process: of its pre-training, RecBole's file would have its settings as a
  pickle, too. What it asks about a batch is drawn by numpy for the whole batch, not item by item in Python: with
  hundreds of attributes that would be most of the time. Chances are the same.
- Popularity counts RecBole's training interactions. RecBole's `Pop` counts an item once a batch, however often it
  occurs.

With pandas 3 RecBole's filling-in of missing values does nothing but warn; nothing is missing here.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

VERSION = "1.2.1"
REMOVED = {"float_": np.float64, "complex_": np.complex128, "unicode_": np.str_}  # from numpy, with version 2
POPULARITY = "Popularity"
PRETRAINED = "S3Rec"
ATTRIBUTES = "class"  # RecBole's name for what S3Rec learns of items
FIELDS = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "repeatable": True,  # items of the history are candidates, as everywhere in the project
    "train_neg_sample_args": None,  # cross-entropy over all items, as documented for SASRec and BERT4Rec
    "metrics": ["NDCG"],
    "topk": [10],
    "valid_metric": "NDCG@10",
    "show_progress": False,
}

Scorer = Callable[[Any], Tensor]
"""From a batch of test users to the scores of all items (users, items); item 0 is RecBole's padding."""


def main() -> None:
    """Arguments: the folder of the atomic files, the model, its settings as JSON, the .npz to write.

    Every epoch is a line on standard output.
    """
    folder, model, settings, out = sys.argv[1:]
    sys.argv[1:] = []  # RecBole reads them, too
    for name, kind in REMOVED.items():
        setattr(np, name, kind)
    import recbole

    aggregated = pd.Series.agg
    pd.Series.agg = lambda column, what: column.map(len) if what is len else aggregated(column, what)

    if recbole.__version__ != VERSION:
        sys.exit(f"RecBole {recbole.__version__} is installed, not {VERSION}: make its environment anew")
    config, dataset, (train, valid, test) = data(Path(folder), model, json.loads(settings))
    scorer, curve = popularity(train, valid, test) if model == POPULARITY else trained(config, train, valid)
    with torch.inference_mode():
        np.savez(out, **ranks(scorer, dataset, test), **curve)


def data(folder: Path, model: str, settings: dict[str, Any]) -> tuple[Any, Any, Any]:
    """RecBole's settings and dataset, and what it trains, validates and tests on."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import init_seed

    chosen = FIELDS | {"data_path": str(folder.parent)} | settings
    if model == PRETRAINED:
        chosen["load_col"] = chosen["load_col"] | {"item": ["item_id", ATTRIBUTES]}
    config = Config("SASRec" if model == POPULARITY else model, folder.name, config_dict=chosen)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    return config, dataset, data_preparation(config, dataset)


def trained(config: Any, train: Any, valid: Any) -> tuple[Scorer, dict[str, list[float]]]:
    """Train to RecBole's early stopping; the best epoch's scores, and seconds and validation NDCG@10 of every epoch."""
    from recbole.utils import get_model, get_trainer, init_seed

    init_seed(config["seed"], config["reproducibility"])
    before = pretrained(config, train) if config["model"] == PRETRAINED else np.zeros(0)
    model = get_model(config["model"])(config, train._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    ends, scores, best = [time.perf_counter()], [], {}

    def seen(epoch: int, score: float) -> None:
        ends.append(time.perf_counter())
        if score >= max(scores, default=0):  # as RecBole compares
            best.update(copy.deepcopy(model.state_dict()))
        scores.append(score)
        print(f"epoch {epoch + 1}, validation NDCG@10 {score:.4f}", flush=True)

    trainer.fit(train, valid, verbose=False, saved=False, callback_fn=seen)
    model.load_state_dict(best)
    model.eval()
    seconds = np.concatenate([before, np.diff(ends)])
    curve = {"seconds": seconds, "validation": np.concatenate([np.zeros(len(before)), scores])}
    return lambda batch: model.full_sort_predict(batch.to(config["device"])), curve


def pretrained(config: Any, train: Any) -> np.ndarray:
    """Pre-train S3Rec and leave its weights where `config` then has fine-tuning start; the seconds of every epoch."""
    from recbole.utils import get_model, get_trainer

    config["train_stage"] = "pretrain"
    model = get_model(PRETRAINED)(config, train._dataset).to(config["device"])
    model.reconstruct_pretrain_data = Questions(model)
    trainer = get_trainer(config["MODEL_TYPE"], PRETRAINED)(config, model)
    ends = [time.perf_counter()]
    for epoch in range(config["pretrain_epochs"]):  # as the trainer's `pretrain`, which also writes files
        trainer._train_epoch(train, epoch)
        ends.append(time.perf_counter())
        print(f"pre-training, epoch {epoch + 1}", flush=True)
    config["train_stage"], config["pre_model_path"] = "finetune", "pretrained.pth"
    torch.save({"state_dict": model.state_dict()}, config["pre_model_path"])
    return np.diff(ends)


class Questions:
    """What S3Rec's `reconstruct_pretrain_data` makes of a batch, all its rows at once."""

    def __init__(self, model: Any) -> None:
        """`model` is S3Rec, not yet pre-trained."""
        self._model = model
        attributes = model.item_feat[model.FEATURE_FIELD]  # (items, most that one has), 0 where it has no more
        table = torch.zeros(len(attributes), model.n_features + 1, dtype=torch.uint8)
        self._attributes = table.scatter_(1, attributes, 1)[:, 1:].to(next(model.parameters()).device)

    def __call__(self, item_seq: Tensor, item_seq_len: Tensor) -> tuple[Tensor, ...]:
        """Attributes, masked items, right and wrong ones, masked, right and wrong segments: histories at the right."""
        model, mask = self._model, self._model.mask_token
        items, lengths = item_seq.cpu().numpy(), item_seq_len.cpu().numpy()[:, None]
        rows, width = items.shape
        place = np.arange(width) - (width - lengths)  # in the history; negative before it
        real = place >= 0
        items = np.where(real, np.take_along_axis(items, np.maximum(place, 0), 1), 0)
        hidden = real & (np.random.random(items.shape) < model.mask_ratio)
        length = np.random.randint(1, np.maximum(lengths // 2, 1) + 1)
        start = np.random.randint(0, lengths - length + 1)
        everything = items[real]
        other = np.random.randint(0, len(everything) - length + 1) + place - start
        short = lengths < 2  # asked nothing about segments: all three are the history
        inside = (place >= start) & (place < start + length) & ~short
        outside = np.where(real & ~short, mask, items)
        views = (
            np.where(hidden, mask, items),
            items,
            np.where(hidden, self._wrong(items, hidden), items),
            np.where(inside, mask, items),
            np.where(inside, items, outside),
            np.where(inside, everything[np.clip(other, 0, len(everything) - 1)], outside),
        )
        device = item_seq.device
        sent = [torch.from_numpy(np.ascontiguousarray(view)).long().to(device) for view in views]
        return (self._attributes[sent[1]], *sent)

    def _wrong(self, items: np.ndarray, hidden: np.ndarray) -> np.ndarray:
        """Items that the row of a hidden place lacks; anything elsewhere."""
        drawn = np.random.randint(1, self._model.n_items, items.shape)
        row, column = np.nonzero(hidden)
        while len(row):
            again = (items[row] == drawn[row, column][:, None]).any(1)
            row, column = row[again], column[again]
            drawn[row, column] = np.random.randint(1, self._model.n_items, len(row))
        return drawn


def popularity(*parts: Any) -> tuple[Scorer, dict[str, Any]]:
    """Counts of the training interactions.

    RecBole has a row for every interaction but each user's first, which is the whole history of the second.
    """
    train = parts[0].dataset
    items, size = train.iid_field, train.item_num
    counts = torch.bincount(train.inter_feat[items], minlength=size)
    for part in parts:
        rows = part.dataset.inter_feat
        first = rows[rows[train.item_list_length_field] == 1]
        counts += torch.bincount(first[f"{items}_list"][:, 0], minlength=size)
    return lambda batch: counts.expand(len(batch), size), {"seconds": np.zeros(0), "validation": np.zeros(0)}


def ranks(scorer: Scorer, dataset: Any, test: Any) -> dict[str, np.ndarray]:
    """user, item, greater, equal, candidates (users,), and histories (users, longest) as read, -1 where they end."""
    found: dict[str, list[np.ndarray]] = {}
    for batch, *_ in test:
        scores = scorer(batch).view(len(batch), -1)[:, 1:].cpu()
        targets = batch[dataset.iid_field].cpu()
        own = scores.gather(1, targets[:, None] - 1)
        if scores.isnan().any():
            sys.exit("NaN scores: lower the learning rate")
        part = {
            "user": numbers(dataset, dataset.uid_field, batch[dataset.uid_field]),
            "item": numbers(dataset, dataset.iid_field, targets),
            "histories": numbers(dataset, dataset.iid_field, batch[f"{dataset.iid_field}_list"]),
            "greater": (scores > own).sum(1).numpy(),
            "equal": (scores == own).sum(1).numpy() - 1,
            "candidates": np.full(len(batch), scores.shape[1]),
        }
        for name, values in part.items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def numbers(dataset: Any, field: str, tokens: Tensor) -> np.ndarray:
    """The project's numbers of users or items, from RecBole's; -1 for its padding."""
    known = dataset.field2id_token[field]
    return np.array([-1, *(int(token) for token in known[1:])])[tokens.cpu().numpy()]


if __name__ == "__main__":
    main()
