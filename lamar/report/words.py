"""Numbers as the report writes them."""


def percent(share: float) -> str:
    """0.0312 as +3.1%, with a true minus sign."""
    return f"{share:+.1%}".replace("-", "−")


def duration(seconds: float) -> str:
    """47 s, 2.8 min, 12 min, 2.4 h; a dash where nothing was trained."""
    if seconds < 0.05:  # seconds are kept to one decimal
        return "–"
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.1f} min" if seconds < 600 else f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
