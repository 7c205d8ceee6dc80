"""The tables of the report, as the page and `lamar table` show them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lamar.analysis.runs import COMPARED
from lamar.evaluation.metrics import METRICS
from lamar.report.browser import largest_moves
from lamar.report.evidence import letters, marks
from lamar.report.layout import Column, columns
from lamar.report.ranker_tables import rankers_tables
from lamar.report.results import Result
from lamar.report.signal_tables import SIGNAL_TABLES, described
from lamar.report.text import Table, some
from lamar.report.words import mean, minutes, percent, signed

if TYPE_CHECKING:
    from lamar.report.catalogue import SignalSet
    from lamar.report.chapter import Chapter
    from lamar.report.costs import Cost

LABELS = {name: name.upper().replace("RECALL", "Recall") for name in METRICS}
MOVES = 10  # users whose ranks changed most
CONTROLS = {  # what a run with signals reads of an item
    "none": "its own attributes, signals of {}",
    "shuffled": "its own attributes, signals of {} (each item has another item's)",
    "random-words": "its own attributes, signals of {} (random words of all signals in their place)",
    "description": "its own attributes, signals of {} (the beginning of its description in their place)",
    "signal-only": "signals of {}, without its own attributes",
}


def main_table(chapter: Chapter) -> list[Table]:
    """The paper's layout: a row for each metric, a column for each model, without controls; below, their seeds.

    Behind a result with signals stands how much better it is than the same model without them, * where that is
    significant, and the interval where it was tested.
    """
    found = columns(chapter)
    rows = [[LABELS[metric], *(_with_improvement(column, metric) for column in found)] for metric in METRICS]
    seeds = ["Seeds", *(str(column.result.seeds) for column in found)]
    tested = chapter.evidence.significance
    marked = f", * where significant, with {100 * tested['level']:g}% intervals" if tested else ""
    caption = f"Models on {chapter.name}; in brackets: against the same model without signals{marked}."
    return [Table(caption, ["metric", *(column.result.run for column in found)], [*rows, seeds])]


def _with_improvement(column: Column, metric: str) -> str:
    shown = mean(column.result.metrics, metric, column.result.seeds)
    if column.base is None:
        return shown
    better = column.improvements[metric]
    interval = f", {' to '.join(map(percent, better.ends))}" if better.ends else ""
    return f"{shown} ({percent(better.value)}{'*' if better.significant else ''}{interval})"


def runs_table(chapter: Chapter) -> list[Table]:
    """One row a run: the six metrics, ± the standard deviation over seeds where there are several.

    A letter in brackets behind a run names it; behind a number it names the runs that differ significantly.
    """
    evidence = chapter.evidence
    known = letters(evidence)
    marked = any(pair[metric]["significant"] for pair in evidence.pairs for metric in COMPARED)

    def cell(result: Result, metric: str) -> str:
        found = marks(result, metric, evidence)
        return mean(result.metrics, metric, result.seeds) + (f" ({found})" if found else "")

    def name(result: Result) -> str:
        return f"{result.run} ({known[result.run]})" if marked and result.run in known else result.run

    rows = [[name(one), str(one.seeds), *(cell(one, metric) for metric in METRICS)] for one in chapter.results]
    return [Table(f"Results on {chapter.name}.", ["run", "seeds", *LABELS.values()], rows)]


def intervals_table(chapter: Chapter) -> list[Table]:
    """One row a run: the tested metrics with their intervals."""
    found = chapter.evidence.significance or {"runs": {}}
    rows = [
        [run, *(f"{ends['value']:.4f} ({ends['low']:.4f} to {ends['high']:.4f})" for ends in metrics.values())]
        for run, metrics in found["runs"].items()
    ]
    return some(f"Results on {chapter.name} with their intervals.", ["run", *(LABELS[m] for m in COMPARED)], rows)


def changes_table(chapter: Chapter) -> list[Table]:
    """One row for each compared pair: relative difference of the means of all six metrics."""
    rows = [[_versus(one.new.run, one.base.run), *map(percent, one.changes.values())] for one in chapter.differences]
    return some(f"What the signals changed on {chapter.name}, all six metrics.", ["comparison", *LABELS.values()], rows)


def _versus(run: str, against: str) -> str:
    return f"{run} against {against}"


def significance_table(chapter: Chapter) -> list[Table]:
    """One row for each pair and metric: relative improvement, intervals, p-value, Holm's, verdict."""
    rows = [
        [
            *(_versus(pair["run"], pair["against"]), LABELS[metric]),
            *relative(pair[metric]["relative"], pair[metric]["relative_users"]),
            *(f"{pair[metric][p]:.4f}" for p in ("p", "p_holm")),
            "yes" if pair[metric]["significant"] else "no",
            str(min(pair["seeds"])),
        ]
        for pair in chapter.evidence.pairs
        for metric in COMPARED
    ]
    head = ["comparison", "metric", "improvement", "interval", "users alone", "p", "p (Holm)", "significant"]
    return some(f"Significance on {chapter.name}.", [*head, "seeds"], rows, text_columns=2)


def relative(ends: dict[str, float] | None, by_users: dict[str, float] | None) -> list[str]:
    """Relative improvement, its interval and that over users alone, in percent; dashes where the base is zero."""
    if ends is None or by_users is None:
        return ["–", "–", "–"]
    return [percent(ends["value"]), *(f"{percent(one['low'])} to {percent(one['high'])}" for one in (ends, by_users))]


def groups_table(chapter: Chapter) -> list[Table]:
    """Difference of NDCG@10 of every pair on every group of users, with its interval."""
    rows = [
        [row["by"], row["bucket"], _versus(row["run"], row["against"]), f"{row['users']:,}"]
        + [signed(row["value"]), f"{signed(row['low'])} to {signed(row['high'])}"]
        for row in _group_rows(chapter)
        if row["against"]
    ]
    head = ["by", "group", "comparison", "users", "difference", "interval"]
    caption = f"Difference of NDCG@10 by group of users on {chapter.name}."
    return some(caption, head, rows, text_columns=3)


def buckets_table(chapter: Chapter) -> list[Table]:
    """NDCG@10 of every run on every group of users, with its interval."""
    rows = [
        [row["by"], row["bucket"], row["run"], f"{row['users']:,}"]
        + [f"{row['value']:.4f}", f"{row['low']:.4f} to {row['high']:.4f}"]
        for row in _group_rows(chapter)
        if not row["against"]
    ]
    head = ["by", "group", "run", "users", "NDCG@10", "interval"]
    return some(f"NDCG@10 by group of users on {chapter.name}.", head, rows, text_columns=3)


def _group_rows(chapter: Chapter) -> list[dict[str, Any]]:
    table = chapter.evidence.buckets
    return [] if table is None else table.filter(metric="ndcg@10").to_dicts()


def paper_table(chapter: Chapter) -> list[Table]:
    """The paper's figures, and ours below them."""
    paper = chapter.evidence.paper
    if paper is None:
        return []
    named = [(name, values.get("table", paper["table"]), values) for name, values in paper["systems"].items()]
    named += [(result.run, "ours", result.metrics) for result in chapter.results]
    rows = [
        [name, source, *(f"{values[metric]:.4f}" if metric in values else "–" for metric in METRICS)]
        for name, source, values in named
    ]
    return [Table(f"The paper on {paper['of']}, and ours.", ["system", "from", *LABELS.values()], rows, 2)]


def costs_table(chapter: Chapter) -> list[Table]:
    """What every result took. Minutes of training; what its signals took, of the whole catalogue."""
    head = ["run", "NDCG@10", "training, min", "a seed, min", "LLM answers", "tokens read", "tokens written", "USD"]
    return [Table(f"Costs on {chapter.name}.", head, [_cost_row(cost) for cost in chapter.costs])]


def _cost_row(cost: Cost) -> list[str]:
    taken, used = cost.seconds, cost.usage
    time = [minutes(sum(taken)), minutes(sum(taken) / len(taken))] if taken else ["not recorded", "–"]
    counts = [f"{used[name]:,}" for name in ("requests", "input_tokens", "output_tokens")] if used else ["–"] * 3
    return [
        *(cost.result.run, f"{cost.result.metrics['ndcg@10']:.4f}", *time, *counts),
        f"{used['cost_usd']:.2f}" if used else "–",
    ]


def statistics_table(chapter: Chapter) -> list[Table]:
    """Statistics of the dataset."""
    rows = [[name, value] for name, value in described(chapter.statistics)]
    return some(f"Statistics of {chapter.name}.", ["statistic", "value"], rows, text_columns=2)


def moves_table(chapter: Chapter) -> list[Table]:
    """Users whose ranks changed most."""
    if not chapter.browser:
        return []
    rows = [
        [title, str(user), f"{before:g}", f"{after:g}"]
        for title, user, before, after in largest_moves(chapter.browser, MOVES)
    ]
    new, base = chapter.browser["compared"] or ("", "")
    head = ["target", "user", f"rank with {base}", f"rank with {new}"]
    return some(f"Largest changes of rank on {chapter.name}.", head, rows)


def made_table(chapter: Chapter) -> list[Table]:
    """How the results were made: what was read, seeds, versions, commands."""
    rows = [
        [
            *(result.run, _read_of_an_item(result), ", ".join(map(str, made["seeds"])), made["ties"]),
            *(made["raw"]["variant"], made["sequences"]["items"][:12]),
            ", ".join(f"{package} {version}" for package, version in made["versions"].items()),
            "; ".join(f"python stages/{command}" for command in _commands(chapter.name, result)),
        ]
        for result in chapter.results
        for made in [result.signature]
    ]
    head = ["run", "reads of an item", "seeds", "ties", "raw data", "texts", "versions", "commands"]
    return [Table(f"How the results on {chapter.name} were made.", head, rows, text_columns=len(head))]


def _read_of_an_item(result: Result) -> str:
    made = result.signature
    writers = ", ".join(made["signals"])
    return CONTROLS[made["control"]].format(writers) if writers else "its own attributes"


def _commands(dataset: str, result: Result) -> list[str]:
    """Of the two stages that made a result."""
    source = result.signature["settings"].get("source")
    if source:  # trained on another dataset
        run = result.run.removesuffix(f"-from-{source}")
        return [f"transfer.py {dataset} {source} {run}", f"evaluate.py {dataset} {run} --source {source}"]
    stage = "taxrec" if result.model == "taxrec" else "train"
    return [f"{stage}.py {dataset} {result.run}", f"evaluate.py {dataset} {result.run}"]


def _of_all(table: Callable[[Chapter, SignalSet], list[Table]]) -> Callable[[Chapter], list[Table]]:
    """The tables of every generator's signals."""
    return lambda chapter: [one for signals in chapter.signals for one in table(chapter, signals)]


# What `lamar table` can print, and the page shows.
TABLES: dict[str, Callable[[Chapter], list[Table]]] = {
    "main": main_table,
    "runs": runs_table,
    "intervals": intervals_table,
    "changes": changes_table,
    "significance": significance_table,
    "groups": groups_table,
    "buckets": buckets_table,
    "paper": paper_table,
    "costs": costs_table,
    "statistics": statistics_table,
    **{name: _of_all(table) for name, table in SIGNAL_TABLES.items()},
    "moves": moves_table,
    "rankers": rankers_tables,
    "made": made_table,
}
