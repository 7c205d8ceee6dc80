"""The engine `ray`: Ray Data works on blocks, on a cluster whose machines share this folder and the environment.

One task cuts the blocks and is held back while nobody has time for them; a pool of processes, one for each GPU or CPU
that the cluster offers, loads once each and works. What a process or a machine takes with it when it dies, Ray has done
again by the others.

Imported when the engine is asked for: Ray is an extra (`lamar[ray]`).
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ray
import ray.data
from pyarrow import Table
from ray.data import ActorPoolStrategy, DataContext, Datasource, ReadTask
from ray.data.block import BlockAccessor, BlockMetadata

from lamar.errors import LamarError

PASSED_ON = ("LAMAR_", "OMP_NUM_THREADS")  # variables that processes elsewhere need: folders, and equal sums
CPU_SHARE = 0.5  # of a process, as Ray counts: those of a lost machine then find room on the others
RETRIES = 10  # of a block: until Ray misses a lost machine, some are in vain; a block that ends each process must stop


@dataclass(frozen=True)
class Sealed:
    """A block or a result on its way, as it is: Ray would make arrays of lists. `what` may be an error to be told."""

    number: int
    what: Any


def worked(
    cut: Callable[[], Iterable[Any]], load: Callable[[], Callable[[Any], Any]], gpu: bool
) -> Iterator[tuple[int, Any]]:
    """As `lamar.engine.Engine`. Raises LamarError when the cluster is not there or its processes keep dying."""
    with _told():
        _connect()
        places = int(ray.cluster_resources().get("GPU", 0)) if gpu else 0
        size = places or max(1, int(ray.cluster_resources().get("CPU", 1)))
        blocks = ray.data.read_datasource(Cut(cut, Path.cwd()), override_num_blocks=1, num_cpus=0)
        results = blocks.map(
            Process,
            fn_constructor_args=[load, Path.cwd()],
            compute=ActorPoolStrategy(min_size=1, max_size=size, initial_size=size),
            num_cpus=CPU_SHARE,
            num_gpus=1 if places else 0,
            ray_remote_args_fn=_patience,
        )
        for row in results.iter_rows():
            sealed = row["sealed"]
            if isinstance(sealed.what, LamarError):
                raise sealed.what
            yield sealed.number, sealed.what


def _patience() -> dict[str, int]:
    return {"max_restarts": -1, "max_task_retries": RETRIES}


class Cut(Datasource):
    """The blocks of a function as a source of Ray Data: one task gives them, one after the other."""

    def __init__(self, cut: Callable[[], Iterable[Any]], folder: Path) -> None:
        """folder: where `cut` finds the files that it names."""
        self._cut = cut
        self._folder = folder

    def estimate_inmemory_data_size(self) -> int | None:
        """Not known before they are cut."""
        return None

    def get_read_tasks(self, parallelism: int, *args: Any, **kwargs: Any) -> list[ReadTask]:
        """The one task."""
        unknown = BlockMetadata(num_rows=None, size_bytes=None, input_files=None, exec_stats=None)
        return [ReadTask(partial(_rows, self._cut, self._folder), unknown)]


def _rows(cut: Callable[[], Iterable[Any]], folder: Path) -> Iterator[Table]:
    """A table with one row for each block; the last may be what went wrong."""
    number = -1
    try:
        _enter(folder)
        for number, block in enumerate(cut()):
            yield _row(Sealed(number, block))
    except LamarError as error:
        yield _row(Sealed(number + 1, error))


def _row(sealed: Sealed) -> Table:
    return BlockAccessor.batch_to_block({"sealed": [sealed]})


class Process:
    """One process of the pool. What cannot be loaded is told as a result: Ray would start it again for ever."""

    def __init__(self, load: Callable[[], Callable[[Any], Any]], folder: Path) -> None:
        """Nothing is loaded yet."""
        self._load = load
        self._folder = folder
        self._work: Callable[[Any], Any] | None = None

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Work on a block."""
        sealed = row["sealed"]
        if isinstance(sealed.what, LamarError):
            return row
        try:
            if self._work is None:
                _enter(self._folder)
                self._work = self._load()
            return {"sealed": Sealed(sealed.number, self._work(sealed.what))}
        except LamarError as error:
            return {"sealed": Sealed(sealed.number, error)}


def _enter(folder: Path) -> None:
    """Work where the stage does: the names of its files begin there."""
    try:
        os.chdir(folder)
    except OSError as error:
        machine = os.uname().nodename
        raise LamarError(f"{folder}: not on {machine} of the Ray cluster ({error.strerror}); share it there") from None


def _connect() -> None:
    """Join the cluster, unless this process has: quietly, without telemetry and dashboard."""
    if ray.is_initialized():
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what concerns a user is raised
    passed_on = {name: value for name, value in os.environ.items() if name.startswith(PASSED_ON)}
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    alone = {} if os.environ.get("RAY_ADDRESS") else {"include_dashboard": False}
    ray.init(runtime_env={"env_vars": passed_on}, **quiet, **alone)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False  # the stage has its own
    context.target_max_block_size = 1  # byte: a result is sent when it is there, and not collected with others


@contextmanager
def _told() -> Iterator[None]:
    """Ray's troubles in one line."""
    try:
        yield
    except ConnectionError:
        address = os.environ.get("RAY_ADDRESS")
        raise LamarError(
            f"RAY_ADDRESS: no Ray cluster at {address}; start one (ray start --head) or unset it"
        ) from None
    except ray.exceptions.RayActorError as error:
        reason = f"a block of work ended its process {RETRIES + 1} times; is there memory enough?"
        remedy = "ray start --num-cpus starts fewer processes on a machine"
        raise LamarError(f"engine: ray: {reason} {remedy}") from error
    except ray.exceptions.RayError as error:
        last = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise LamarError(f"engine: ray: {last}; Ray's logs say more: /tmp/ray/session_latest/logs") from error
