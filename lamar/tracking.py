"""MLflow: what a training run was given and how it went. Nothing here can fail a run or slow it much."""

from __future__ import annotations

import logging
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lamar import launch
from lamar.console import say
from lamar.params import Tracking

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}
ENVIRONMENT = {  # defaults: what the user has set stays
    **QUIET,
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # a server that is down costs seconds, not MLflow's minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # seconds
}


class Tracker:
    """One MLflow run, or nothing. The first failure is said in one line and ends the tracking, never the training."""

    def __init__(self, client: MlflowClient | None = None, run_id: str = "") -> None:
        """Without a client, everything is accepted and nothing is kept."""
        self._client = client
        self._run_id = run_id

    def epoch(self, values: Mapping[str, float], step: int) -> None:
        """Keep the loss and the validation metrics of epoch `step`, in one request."""
        self._write("log_batch", lambda: {"metrics": _metrics(values, step)})

    def metrics(self, values: Mapping[str, float]) -> None:
        """Keep the final metrics."""
        self._write("log_batch", lambda: {"metrics": _metrics(values, step=0)})

    def files(self, folder: Path) -> None:
        """Keep the files of a folder under its name."""
        self._write("log_artifacts", lambda: {"local_dir": str(folder), "artifact_path": folder.name})

    def end(self, status: str) -> None:
        """Close the run as FINISHED, FAILED or KILLED."""
        self._write("set_terminated", lambda: {"status": status})

    def _write(self, method: str, values: Callable[[], dict[str, Any]]) -> None:
        """values: called with a client alone, as making them needs MLflow."""
        if self._client is None:
            return
        try:
            getattr(self._client, method)(self._run_id, **values())
        except Exception as error:  # MLflow raises its own, SQLAlchemy's, requests' ... and none may stop a run
            self._client = None
            _tracking_is_off(reason_of(error))


@contextmanager
def run(chosen: Tracking, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Iterator[Tracker]:
    """Track what happens in the block as one MLflow run called `name`.

    params: settings, nested as in params.yaml; tags: hashes of dataset and signals, to which the git revision is
    added. The store is MLFLOW_TRACKING_URI, else mlflow.db at the root of the repository.
    """
    tracker = _start(chosen, name, params, tags)
    try:
        yield tracker
    except BaseException as error:
        tracker.end("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
        raise
    tracker.end("FINISHED")


def _start(chosen: Tracking, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> Tracker:
    if not launch.is_main():
        return Tracker()
    if not chosen.enabled:
        _tracking_is_off("tracking.enabled is false in params.yaml")
        return Tracker()
    try:
        client = _client()
        created = client.create_run(
            experiment_id(client, chosen.experiment), run_name=name, tags={**tags, **revision()}
        )
        client.log_batch(created.info.run_id, params=_params(params))
        return Tracker(client, created.info.run_id)
    except Exception as error:  # as in Tracker._write
        _tracking_is_off(reason_of(error))
        return Tracker()


def reader() -> MlflowClient:
    """A client for what was tracked: of nothing that the pipeline computes."""
    return _client()


def _client() -> MlflowClient:
    settle(ENVIRONMENT)
    from mlflow.tracking import MlflowClient

    return MlflowClient(store_uri())


def settle(environment: Mapping[str, str]) -> None:
    """Set what the user has not set, before MLflow is imported."""
    for variable, value in environment.items():
        os.environ.setdefault(variable, value)
    logging.getLogger("alembic").setLevel(logging.ERROR)  # it lists every migration of a new store


def store_uri() -> str:
    """Where MLflow keeps things: MLFLOW_TRACKING_URI, else the store of the repository."""
    return os.environ.get("MLFLOW_TRACKING_URI") or default_uri()


def default_uri() -> str:
    """An absolute address: DVC runs experiments in temporary folders, and says in DVC_ROOT whose they are."""
    return f"sqlite:///{_root() / 'mlflow.db'}"


def _root() -> Path:
    return Path(os.environ.get("DVC_ROOT") or Path.cwd()).resolve()


def experiment_id(client: MlflowClient, name: str) -> str:
    """The id of the experiment, created when it is new; a local store keeps artifacts beside its database."""
    known = client.get_experiment_by_name(name)
    if known is not None:
        return known.experiment_id
    local = client.tracking_uri.startswith("sqlite:")
    return client.create_experiment(name, (_root() / "mlartifacts").as_uri() if local else None)


def revision() -> dict[str, str]:
    """Tags `git_revision` ("unknown" outside a repository) and `git_dirty` ("true" with uncommitted changes)."""
    head, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain")
    return {"git_revision": head or "unknown", "git_dirty": str(bool(changes)).lower()}


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _metrics(values: Mapping[str, float], step: int) -> list[Any]:
    """MLflow allows no @ in a name: ndcg@10 is kept as ndcg_at_10."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)  # milliseconds
    return [Metric(name.replace("@", "_at_"), float(value), now, step) for name, value in values.items()]


def _params(nested: Mapping[str, Any]) -> list[Any]:
    from mlflow.entities import Param

    return [Param(key, str(value)) for key, value in flattened(nested).items()]


def flattened(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"model": {"layers": 2}} as {"model.layers": 2}."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def reason_of(error: Exception) -> str:
    """One line of at most 200 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


@cache
def _tracking_is_off(reason: str) -> None:
    """Say so, once per reason."""
    say(f"tracking is off: {reason}")
