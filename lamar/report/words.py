"""Numbers as the report writes them."""

from collections.abc import Mapping


def percent(share: float | None) -> str:
    """0.0312 as +3.1%, with a true minus sign; a dash where there is no ratio."""
    return "–" if share is None else f"{share:+.1%}".replace("-", "−")


def signed(value: float) -> str:
    """0.00211 as +0.0021, with a true minus sign."""
    return f"{value:+.4f}".replace("-", "−")


def minutes(seconds: float) -> str:
    """In minutes with one decimal, so that columns sort."""
    return f"{seconds / 60:,.1f}"


def mean(metrics: Mapping[str, float], metric: str, seeds: int) -> str:
    """0.0611 ± 0.0020, or the mean alone when there is one seed."""
    return f"{metrics[metric]:.4f}" + (f" ± {metrics[f'{metric}_std']:.4f}" if seeds > 1 else "")
