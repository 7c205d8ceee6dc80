"""What a tensor leaves is the next one's."""

import platform
import subprocess
import sys

import pytest

PAGES = """
import resource
import torch
from lamar.training.memory import keep_freed

def faults(tensors):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(tensors):
        torch.ones(20_000_000)  # 80 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

given = faults(10)
assert keep_freed()
faults(40)  # the next one fits where one before was, but not always where the last one was
print(given, faults(10))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library than glibc keeps what it likes")
def test_the_system_is_not_asked_again():
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 100  # the system hands out pages of 4 KB, or of 2 MB
    assert after < before / 10
