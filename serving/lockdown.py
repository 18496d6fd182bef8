"""Forbid a process to open files, use the network, start programs or take much memory.

Linux from 5.13 on has all of this on x86-64 and arm64; elsewhere, what is missing is skipped. The
process must import and open everything that it needs before. None of this can be undone.
"""

import ctypes
import errno
import os
import platform
import resource
import signal
import struct
import sys
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38  # prctl(2)
LANDLOCK_CREATE_RULESET, LANDLOCK_RESTRICT_SELF = 444, 446  # landlock(7); the same on all machines

# System call numbers on x86-64 and arm64, -1 if there is none. See seccomp(2).
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE, CLONE3 = (56, 220), (435, 435)
DENIED = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, -1),
    "vfork": (58, -1),
    "kill": (62, 129),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_open": (434, 434),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "mount": (165, 40),
    "unshare": (272, 97),
    "setns": (308, 268),
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "setrlimit": (160, 164),
    "prlimit64": (302, 261),
}


# Looked up once: a process that is forked off would have to copy many pages of memory for it.
_libc = ctypes.CDLL(None)
_prctl = getattr(_libc, "prctl", None)


def end_with_parent() -> None:
    """Let this process end when its parent does (Linux)."""
    if sys.platform == "linux" and _prctl:
        parent = os.getppid()
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # the parent has ended meanwhile
            os._exit(1)


def lock_down(memory: int) -> None:
    """Keep open files and imported modules; forbid the rest.

    Parameters
    ----------
    memory
        Bytes that the process may allocate beyond what it has.
    """
    forbid_files(memory)
    forbid_calls()


def forbid_files(memory: int) -> None:
    """Forbid files and limit the memory: all of `lock_down` but `forbid_calls`.

    Processes that this one forks are limited likewise, so they have less left to do.
    """
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)  # without it the next two need privileges
    _landlock()


def _landlock() -> None:
    """Landlock: no file or folder can be opened any more, nor a TCP connection."""
    version = _libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    files = 2 ** (13 + (version >= 2) + (version >= 3) + (version >= 5)) - 1
    connections = 0b11 if version >= 4 else 0
    others = 0b11 if version >= 6 else 0  # abstract sockets and signals to other processes
    rules = struct.pack("=3Q", files, connections, others)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    handle = _libc.syscall(LANDLOCK_CREATE_RULESET, rules, ctypes.c_size_t(size), 0)
    if handle >= 0:
        _libc.syscall(LANDLOCK_RESTRICT_SELF, handle, 0)
        os.close(handle)


def forbid_calls() -> None:
    """Forbid sockets, programs, processes and new limits; threads stay allowed.

    The process must not gain privileges any more: see `forbid_files`.
    """
    if _program and _prctl:
        _prctl(PR_SET_SECCOMP, 2, _filter, 0, 0)


def _make_filter() -> bytes:
    """The program for seccomp(2); empty if there is none for this machine."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in AUDIT_ARCH:
        return b""
    column = list(AUDIT_ARCH).index(machine)
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06  # instructions of BPF
    allow, deny, kill = 0x7FFF0000, 0x00050000, 0x80000000
    call, arch, first_argument, clone_thread = 0, 4, 16, 0x10000
    program = [
        (load, 0, 0, arch),
        (equal, 1, 0, AUDIT_ARCH[machine]),
        (give, 0, 0, kill),  # a call for another architecture
        (load, 0, 0, call),
        (at_least, 0, 1, 0x40000000),
        (give, 0, 0, kill),  # x32
        (equal, 0, 1, CLONE3[column]),
        (give, 0, 0, deny | errno.ENOSYS),  # its flags are not visible; the C library has clone
    ]
    for numbers in DENIED.values():
        if numbers[column] >= 0:
            program += [(equal, 0, 1, numbers[column]), (give, 0, 0, deny | errno.EPERM)]
    program += [
        (equal, 0, 3, CLONE[column]),
        (load, 0, 0, first_argument),
        (any_bit, 1, 0, clone_thread),
        (give, 0, 0, deny | errno.EPERM),
        (give, 0, 0, allow),
    ]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


_program = _make_filter()
_code = ctypes.create_string_buffer(_program)
_filter = struct.pack("@HP", len(_program) // 8, ctypes.addressof(_code))
