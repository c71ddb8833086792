"""A process that reads what somebody brought takes leave of the network and of other programs, for good.

A seccomp filter of a few instructions, which needs no rights and holds for all threads and children. Where the kernel
or the machine knows none, the process goes on: its limits hold there too, and that it loads nothing but data.
"""

import ctypes
import errno
import platform
import struct
from typing import Final, NamedTuple

PR_SET_NO_NEW_PRIVS, SET_MODE_FILTER, ALL_THREADS = 38, 1, 1
LOAD, EQUALS, AT_LEAST, RETURN = 0x20, 0x15, 0x35, 0x06
NUMBER, ARCHITECTURE = 0, 4
ALLOW, REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
X32: Final = 0x40000000
IO_URING_SETUP: Final = 425


class Machine(NamedTuple):
    """How a kind of processor names itself to the kernel, its call that sets filters, and those that are refused."""

    audit: int
    seccomp: int
    refused: tuple[int, ...]


MACHINES: Final = {  # socket, execve, execveat, ptrace, process_vm_writev
    "x86_64": Machine(0xC000003E, 317, (41, 59, 322, 101, 311, IO_URING_SETUP)),
    "aarch64": Machine(0xC00000B7, 277, (198, 221, 281, 117, 271, IO_URING_SETUP)),
}


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def isolate() -> bool:
    """From now on this process opens no socket and starts no program; False where that cannot be had."""
    machine = MACHINES.get(platform.machine())
    if machine is None:
        return False
    code = _filter(machine)
    program, libc = _Program(len(code) // 8, code), ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        return False
    return bool(libc.syscall(machine.seccomp, SET_MODE_FILTER, ALL_THREADS, ctypes.byref(program)) == 0)


def _filter(machine: Machine) -> bytes:
    """Instructions, whose jumps count what they skip, with two ends: allow and refuse."""
    calls = machine.refused
    left = len(calls) + 1  # from the first call compared with to the refusal
    steps = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUALS, 0, left + 2, machine.audit),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, left, 0, X32),
        *((EQUALS, left - place - 1, 0, call) for place, call in enumerate(calls)),
        (RETURN, 0, 0, ALLOW),
        (RETURN, 0, 0, REFUSE),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
