"""How much memory this process may use, uses, and gives back."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import psutil

# Options of glibc's `mallopt`, from its malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
DEFAULT_MMAP_MAX = 65_536

KEPT_BYTES = 512 * 2**20
"""Freed memory that is kept at most: some more than a batch needs."""


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


def prepare_process() -> None:
    """Configures the memory allocators of a process that will run models.

    Programs call this once, before TensorFlow is imported: the server, the command line, and
    worker processes. Importing `vgg_demo` does not, because both settings affect the whole
    process.
    """
    # Without this, oneDNN's own allocator keeps the memory of an evicted model: 600 MB for VGG16.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    prepare_allocator()


def prepare_allocator() -> None:
    """Has glibc keep what is freed for what comes next, until `give_back`.

    A network's intermediate results have tens of megabytes each, and each look needs the same
    again. By default glibc gets them from the system each time, which fills them with zeros
    page by page: of the time for a batch, that is a fifth with VGG16 and a third with
    MobileNetV2 (`benchmarks/README.md`). To be called early: threads that have memory of their
    own already keep it. Elsewhere nothing happens.
    """
    _set_option(M_ARENA_MAX, 1)  # else every thread keeps what others could use
    _set_option(M_TRIM_THRESHOLD, KEPT_BYTES)
    _set_option(M_MMAP_MAX, 0)


@contextmanager
def in_pieces_of_their_own() -> Iterator[None]:
    """Gets large pieces from the system each for itself: for weights, which stay and go at once."""
    _set_option(M_MMAP_MAX, DEFAULT_MMAP_MAX)
    try:
        yield
    finally:
        _set_option(M_MMAP_MAX, 0)


def _set_option(option: int, value: int) -> None:
    with suppress(AttributeError, OSError, TypeError):  # macOS, musl, Windows have none
        ctypes.CDLL(None).mallopt(option, value)


def give_back() -> None:
    """Frees what nobody refers to any more, and hands it back to the system.

    A Keras model is full of reference cycles, which only the collector ends.
    """
    gc.collect()
    give_back_freed()


def give_back_freed() -> None:
    """Hands what is free back to the system: glibc keeps it for what comes next."""
    with suppress(AttributeError, OSError, TypeError):  # macOS, musl, Windows have none
        ctypes.CDLL(None).malloc_trim(0)
