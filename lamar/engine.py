"""Where a stage's blocks of work are done: one after the other in this process, or by many on a Ray cluster (`engine`).

The stage cuts the blocks, whatever the engine: the same blocks give the same results, wherever they are worked on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from lamar.errors import LamarError

Block = TypeVar("Block")
Result = TypeVar("Result")


class Engine(Protocol):
    """Works on blocks. Raises what cutting, loading or working raises."""

    def __call__(
        self, cut: Callable[[], Iterable[Block]], load: Callable[[], Callable[[Block], Result]], gpu: bool = False
    ) -> Iterator[tuple[int, Result]]:
        """Yield (number of the block, result) as results arrive, in any order.

        cut: gives the blocks, the same ones each time it is called; load: what each process does once, a model for
        example; it returns what is done with each block. Another process can import both. gpu: whether the work is
        faster on a GPU.
        """


def here(
    cut: Callable[[], Iterable[Block]], load: Callable[[], Callable[[Block], Result]], gpu: bool = False
) -> Iterator[tuple[int, Result]]:
    """In this process, in the order of the blocks."""
    work = load()
    for number, block in enumerate(cut()):
        yield number, work(block)


def on_ray(
    cut: Callable[[], Iterable[Block]], load: Callable[[], Callable[[Block], Result]], gpu: bool = False
) -> Iterator[tuple[int, Result]]:
    """On the cluster that RAY_ADDRESS names, or on all cores of this machine. Raises LamarError without Ray."""
    try:
        from lamar import cluster
    except ModuleNotFoundError as error:
        raise LamarError(
            f"engine: ray: no module {error.name}; pip install 'lamar[ray]', or set engine: local"
        ) from None
    yield from cluster.worked(cut, load, gpu)


ENGINES: dict[str, Engine] = {"local": here, "ray": on_ray}  # by `engine` in params.yaml


def in_order(results: Iterable[tuple[int, Result]]) -> Iterator[Result]:
    """The results in the order of their blocks; what comes early waits."""
    early: dict[int, Result] = {}
    due = 0
    for number, result in results:
        early[number] = result
        while due in early:
            yield early.pop(due)
            due += 1
