"""Memory of this process: its limit, its use, and the configuration of its allocators."""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

import psutil

# Parameters of glibc's `mallopt`, from its malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
DEFAULT_MMAP_MAX = 65_536

RETAINED_BYTES = 512 * 2**20
"""Maximum amount of freed memory that the heap retains: a little more than a batch needs."""


def allowed_bytes(root: Path = Path("/")) -> int:
    """Returns the memory limit of this process in bytes.

    This is the physical memory of the machine, or the limit of the container if that is smaller.
    Containers are limited by control groups, while `psutil` reports the whole machine. The limit
    of a group also applies to its descendants, so the smallest limit on the path to the root
    counts.

    Args:
        root: Folder that contains ``proc`` and ``sys``.
    """
    machine: int = psutil.virtual_memory().total
    return min([machine, *_control_group_limits(root)])


def _control_group_limits(root: Path) -> Iterator[int]:
    """Yields the limits of cgroup v2 (``memory.max``) and v1 (``memory.limit_in_bytes``).

    Inside a container, the kernel may report the host's path while only the mounted root exists.
    Groups that do not exist are skipped.
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
        for ancestor in (group, *group.parents):
            limit = _read_number(folder / ancestor / file)
            if limit is not None:
                yield limit


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # missing, or "max" (no limit)
        return None


def used_bytes() -> int:
    """Returns the resident set size of this process in bytes."""
    return int(psutil.Process().memory_info().rss)


def prepare_process() -> None:
    """Configures the memory allocators of a process that runs models.

    Programs call this once, before TensorFlow is imported: the server, the command line, and
    worker processes. Importing `vgg_demo` does not, because both settings affect the whole
    process.
    """
    # Without this, oneDNN's own allocator retains the memory of an evicted model: 600 MB for VGG16.
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")
    configure_allocator()


def configure_allocator() -> None:
    """Configures glibc to reuse freed memory until `release_memory` is called.

    The activations of a network take tens of megabytes, and every prediction allocates them
    again. By default, glibc requests them from the operating system each time, which zeroes them
    page by page. This takes a fifth of the time of a batch with VGG16 and a third with
    MobileNetV2 (`benchmarks/README.md`). Call this early: it does not affect threads that already
    have their own arena. Without glibc, this does nothing.
    """
    _set_option(M_ARENA_MAX, 1)  # otherwise each thread retains memory that others could reuse
    _set_option(M_TRIM_THRESHOLD, RETAINED_BYTES)
    _set_option(M_MMAP_MAX, 0)


@contextmanager
def separate_allocations() -> Iterator[None]:
    """Maps each large block separately (mmap) inside the ``with`` block.

    Used for weights: a model's weights are allocated and freed together, so they do not fragment
    the heap.
    """
    _set_option(M_MMAP_MAX, DEFAULT_MMAP_MAX)
    try:
        yield
    finally:
        _set_option(M_MMAP_MAX, 0)


def _set_option(option: int, value: int) -> None:
    with suppress(AttributeError, OSError, TypeError):  # no mallopt on macOS, musl, Windows
        ctypes.CDLL(None).mallopt(option, value)


def release_memory() -> None:
    """Collects garbage and returns freed memory to the operating system.

    Keras models contain reference cycles, which only the garbage collector frees.
    """
    gc.collect()
    trim_heap()


def trim_heap() -> None:
    """Returns the freed memory that glibc retains to the operating system."""
    with suppress(AttributeError, OSError, TypeError):  # no malloc_trim on macOS, musl, Windows
        ctypes.CDLL(None).malloc_trim(0)
