"""The C library's heaps: only a few, and freed memory goes back to the system (glibc)."""

import ctypes
import os
from functools import cache

LARGE = 4_000_000  # bytes; the memory of larger arrays is released immediately
EVERY = 10.0  # seconds between two releases of freed memory


@cache
def _c() -> ctypes.CDLL | None:
    """The C library, if it has such heaps."""
    found = ctypes.CDLL(None) if os.name == "posix" else None
    return found if hasattr(found, "mallopt") and hasattr(found, "malloc_trim") else None


def keep_small() -> None:
    """Let all threads allocate from two heaps, and release large arrays as soon as they are freed.

    Each request runs in some thread of a pool. glibc gives every thread its own heap, and learns to
    keep as much memory as the largest photo ever needed there. See mallopt(3).
    """
    if c := _c():
        m_arena_max, m_mmap_threshold, m_trim_threshold = -8, -3, -1
        c.mallopt(m_arena_max, 2)
        c.mallopt(m_mmap_threshold, LARGE)
        c.mallopt(m_trim_threshold, LARGE)


def give_back() -> None:
    """Release all whole pages that are free inside the heaps. See malloc_trim(3).

    By itself, glibc releases only the ends of heaps. Long-lived data is scattered there, between
    memory that answers used for moments: after hundreds of photos that was 100 MB. It takes some 50
    ms of one core.
    """
    if c := _c():
        c.malloc_trim(0)
