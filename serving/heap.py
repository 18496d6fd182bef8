"""The C library's heaps: few of them, and what was freed goes back to the system (glibc)."""

import ctypes
import os
from functools import cache

LARGE = 4_000_000  # bytes of an array whose memory is not kept
EVERY = 10.0  # seconds between two times that freed memory is given back


@cache
def _c() -> ctypes.CDLL | None:
    """The C library, if it is one with such heaps."""
    found = ctypes.CDLL(None) if os.name == "posix" else None
    return found if hasattr(found, "mallopt") and hasattr(found, "malloc_trim") else None


def keep_small() -> None:
    """Let all threads allocate from two heaps, and large arrays go back as soon as they are freed.

    Each request runs in some thread of a pool. glibc gives every thread a heap of its own, and
    learns to keep in it what the largest photo there once needed. See mallopt(3).
    """
    if c := _c():
        m_arena_max, m_mmap_threshold, m_trim_threshold = -8, -3, -1
        c.mallopt(m_arena_max, 2)
        c.mallopt(m_mmap_threshold, LARGE)
        c.mallopt(m_trim_threshold, LARGE)


def give_back() -> None:
    """Give the system all whole pages that are free inside the heaps. See malloc_trim(3).

    By itself glibc gives back the heaps' ends alone. What lives long lies scattered there, between
    all that answers needed for moments: after hundreds of photos that was 100 MB. It takes some
    50 ms of one core.
    """
    if c := _c():
        c.malloc_trim(0)
