"""Memory that was freed goes back to the system."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving import heap

ROOT = Path(__file__).parents[2]

# Of many small blocks, which lie side by side in the heap, a few stay: no end of it is free.
CODE = """
import os
from serving import heap
heap.keep_small()

def resident():
    pages = open("/proc/self/statm").read().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")

blocks = [b"x" * 100_000 for _ in range(2000)]
full = resident()
blocks = blocks[::50]
freed = resident()
heap.give_back()
print(full, freed, resident(), sum(map(len, blocks)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells of memory on Linux alone")
def test_what_was_freed_between_what_stays_goes_back() -> None:
    if heap._c() is None:
        pytest.skip("this C library has no such heaps")
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    full, freed, given_back, kept = map(int, done.stdout.split())

    assert full - freed < 20_000_000, "freed blocks go back by themselves here"
    assert full - given_back > 180_000_000
    assert kept == 4_000_000
