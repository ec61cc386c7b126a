"""The memory limit of the process, with control groups simulated in a folder."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from vgg_demo import memory
from vgg_demo.errors import SettingsError
from vgg_demo.settings import MEMORY_FRACTION, Settings

MACHINE = psutil.virtual_memory().total
LIMIT = 536_870_912


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    "files",
    [
        # cgroup v2 in a container: the group is the root.
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{LIMIT}\n"},
        # cgroup v2 on a host: the limit belongs to a parent of the process's group.
        {
            "proc/self/cgroup": "0::/user.slice/app.scope\n",
            "sys/fs/cgroup/user.slice/app.scope/memory.max": "max\n",
            "sys/fs/cgroup/user.slice/memory.max": f"{LIMIT}\n",
        },
        # cgroup v1 in a container: the path is the host's, but only the root is mounted.
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/ab\n3:memory:/docker/ab\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{LIMIT}\n",
        },
        # Both versions, each with a limit: the smaller counts.
        {
            "proc/self/cgroup": "3:memory:/a\n0::/a\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{2 * LIMIT}\n",
            "sys/fs/cgroup/a/memory.max": f"{LIMIT}\n",
        },
    ],
    ids=["v2 container", "v2 parent", "v1 container", "both"],
)
def test_limit_of_a_control_group_applies(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, files)
    assert memory.allowed_bytes(tmp_path) == LIMIT


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"},
        {
            "proc/self/cgroup": "3:memory:/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    ],
    ids=["not Linux", "v2", "v1"],
)
def test_without_a_limit_the_memory_of_the_machine_applies(
    tmp_path: Path, files: dict[str, str]
) -> None:
    write(tmp_path, files)
    assert memory.allowed_bytes(tmp_path) == MACHINE


def test_memory_budget_is_configurable() -> None:
    assert Settings.from_environment({"VGG_DEMO_MEMORY_MB": "1600"}).memory_bytes == 1.6e9
    default = int(MEMORY_FRACTION * memory.allowed_bytes())
    assert Settings.from_environment({}).memory_bytes == Settings().memory_bytes == default


@pytest.mark.parametrize("value", ["much", "-1", "1.5", "²"])
def test_invalid_memory_budget_raises_an_error(value: str) -> None:
    with pytest.raises(SettingsError, match=r"VGG_DEMO_MEMORY_MB is .* whole number of megabytes"):
        Settings.from_environment({"VGG_DEMO_MEMORY_MB": value})


def test_freed_memory_is_released() -> None:
    memory.release_memory()  # otherwise memory freed by other tests is reused
    before = memory.used_bytes()
    block = bytearray(b"x") * 200_000_000
    assert memory.used_bytes() - before > 150_000_000
    del block
    memory.release_memory()
    assert memory.used_bytes() - before < 50_000_000
