"""Pre-train a Recformer on prepared datasets; what comes out is a backbone like any other."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import torch

from lamar import console, tracking
from lamar.files import read_json, sha256_of, write_json, written_whole
from lamar.params import Params, Pretrained
from lamar.recformer.pretraining import Pretraining
from lamar.recformer.sources import Sources, files, read_sources
from lamar.recformer.start import CLS, MASK, PRETRAINED, folder_of, started, token
from lamar.text.tokens import joined, tokenise
from lamar.tracking import Tracker
from lamar.training import fit
from lamar.training.checkpoint import Checkpoint, fingerprint
from lamar.training.course import Epoch
from lamar.training.processes import process


def pretrain(chosen: Params, name: str) -> None:
    """Pre-train entry `name` of params.yaml and write it to models/pretrained/<name>.

    Progress is kept in .checkpoints/pretrained, so that one that was cut off goes on. Raises LamarError when a source
    is not prepared, a score is NaN or the disk is full.
    """
    settings = chosen.pretrained[name]
    tags = {f"{d}/{path.stem}": sha256_of(path) for d in settings.sources for path in files(d)}
    start = chosen.backbones[settings.backbone].sha256
    made_from = {"settings": settings.model_dump(), "files": tags, "backbone": start}
    checkpoint = Checkpoint(Path(".checkpoints/pretrained", f"{name}.safetensors"), fingerprint(made_from))
    with tracking.run(chosen.tracking, f"pretrain {name}", settings.model_dump(), tags) as tracker:
        model, curve = trained(settings, read_sources(settings.sources), tracker, checkpoint)
    if process().is_main:
        _write(PRETRAINED / name, model, curve, folder_of(settings.backbone))
        checkpoint.path.unlink(missing_ok=True)
    process().leave()


def trained(
    settings: Pretrained, sources: Sources, tracker: Tracker, checkpoint: Checkpoint | None
) -> tuple[Pretraining, list[Epoch]]:
    """The model at its best epoch on the sources' validation items, and the learning curve."""
    torch.manual_seed(settings.seed)
    model = _model(settings, sources).to(fit.device())
    with console.progress() as bar:
        task = bar.add_task(f"pre-training on {', '.join(settings.sources)}", total=settings.epochs, note="starting")

        def seen(epoch: Epoch) -> None:
            values = {"loss": epoch.loss, "validation_ndcg@10": epoch.validation, "seconds": epoch.seconds}
            tracker.epoch(values, step=epoch.epoch)
            bar.update(task, advance=1, note=f"loss {epoch.loss:.3f}, validation NDCG@10 {epoch.validation:.4f}")

        curve = fit.fit(model, sources.ranked, settings, settings.epochs, settings.seed, seen, checkpoint)
        bar.update(task, completed=settings.epochs)
    return model, curve


def _model(settings: Pretrained, sources: Sources) -> Pretraining:
    model, tokenizer = started(settings)
    return Pretraining(
        model,
        joined([tokenise(text, tokenizer, settings.attribute_tokens) for text in sources.texts]),
        sources.train,
        cls=token(tokenizer, CLS, settings.backbone),
        mask=token(tokenizer, MASK, settings.backbone),
        masked=settings.masked,
        masked_weight=settings.masked_weight,
        max_tokens=settings.max_tokens,
        batch=settings.batch,
        positions_per_user=settings.positions_per_user,
    )


def _write(folder: Path, model: Pretraining, curve: list[Epoch], start: Path) -> None:
    """A backbone's files in `folder`: the encoder without the words' head, and what it took over from its start."""
    from safetensors.torch import save_file

    config = read_json(start / "config.json") | {"num_hidden_layers": len(model.model.layers)}
    write_json(folder / "config.json", config)
    with written_whole(folder / "tokenizer.json") as unfinished:
        shutil.copyfile(start / "tokenizer.json", unfinished)
    lines = [(epoch.epoch, epoch.loss, epoch.validation) for epoch in curve[1:]]
    with written_whole(folder / "curve.csv") as unfinished:
        pl.DataFrame(lines, ["epoch", "loss", "validation_ndcg@10"], orient="row").write_csv(unfinished)
    with written_whole(folder / "model.safetensors") as unfinished:
        save_file(model.model.state_dict(), unfinished)
