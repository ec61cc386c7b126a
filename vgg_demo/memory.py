"""How much memory this process may use, uses, and gives back."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

import psutil


def allowed_bytes(root: Path = Path("/")) -> int:
    """Returns the memory that this process may use: the machine's, or its container's limit.

    Containers are limited by control groups, and `psutil` sees the whole machine. A group's
    limit holds for those below it too, so the smallest on the way up counts.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    machine: int = psutil.virtual_memory().total
    return min([machine, *_control_group_limits(root)])


def _control_group_limits(root: Path) -> Iterator[int]:
    """Yields the limits of version 2 (``memory.max``) and 1 (``memory.limit_in_bytes``).

    Inside a container the path that the kernel names may be the host's, so that only the
    mounted root is there; groups that are not there are passed over.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            folder, file = mount, "memory.max"
        elif "memory" in controllers.split(","):
            folder, file = mount / "memory", "memory.limit_in_bytes"
        else:
            continue
        group = PurePosixPath(path.lstrip("/"))
        for part in (group, *group.parents):
            limit = _read_number(folder / part / file)
            if limit is not None:
                yield limit


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there, or "max": no limit
        return None


def used_bytes() -> int:
    """Returns the memory that this process holds now (its resident set)."""
    return int(psutil.Process().memory_info().rss)


def give_back() -> None:
    """Frees what nobody refers to any more, and hands it back to the system.

    A Keras model is full of reference cycles, which only the collector ends. After that the
    C library still keeps freed pieces for itself; glibc's can be told to let go of them.
    """
    gc.collect()
    with suppress(AttributeError, OSError, TypeError):  # macOS, musl, Windows have none
        ctypes.CDLL(None).malloc_trim(0)
