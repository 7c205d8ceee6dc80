"""Memory of tensors on a CPU."""

from __future__ import annotations

import ctypes
from functools import cache

# Of glibc's malloc.h. It asks the system anew for whatever is larger than 32 MB at most, and gives back what lies free.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
NEVER, NONE = -1, 0


@cache
def keep_freed() -> bool:
    """Let what a tensor leaves be the next one's, instead of the system's; False where the C library cannot.

    The system clears every page that it hands out, which took half of the time of an LLM that reads 26,000 tokens, and
    a tenth to a fifth of training. The process stays as large as it has ever been, and that may be more than without:
    what one tensor leaves is not always where the next one fits.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library: macOS, musl, Windows
        return False
    return bool(mallopt(M_MMAP_MAX, NONE) and mallopt(M_TRIM_THRESHOLD, NEVER))
