"""What this process may use: control groups as the kernel writes them, in a folder."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from vgg_demo import memory
from vgg_demo.errors import SettingsError
from vgg_demo.settings import MEMORY_SHARE, Settings

MACHINE = psutil.virtual_memory().total
LIMIT = 536_870_912


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    "files",
    [
        # Version 2, in a container of its own: the group is the root.
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{LIMIT}\n"},
        # Version 2, on the machine: the limit is further up than the process.
        {
            "proc/self/cgroup": "0::/user.slice/app.scope\n",
            "sys/fs/cgroup/user.slice/app.scope/memory.max": "max\n",
            "sys/fs/cgroup/user.slice/memory.max": f"{LIMIT}\n",
        },
        # Version 1, where a container sees the host's path but only its own folder.
        {
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/ab\n3:memory:/docker/ab\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{LIMIT}\n",
        },
        # Both, each with its own: the smaller counts.
        {
            "proc/self/cgroup": "3:memory:/a\n0::/a\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{2 * LIMIT}\n",
            "sys/fs/cgroup/a/memory.max": f"{LIMIT}\n",
        },
    ],
    ids=["v2 container", "v2 further up", "v1 container", "both"],
)
def test_the_limit_of_a_control_group(tmp_path: Path, files: dict[str, str]) -> None:
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
def test_without_a_limit_it_is_the_machines_memory(tmp_path: Path, files: dict[str, str]) -> None:
    write(tmp_path, files)
    assert memory.allowed_bytes(tmp_path) == MACHINE


def test_the_budget() -> None:
    assert Settings.from_environment({"VGG_DEMO_MEMORY_MB": "1600"}).memory_bytes == 1.6e9
    default = int(MEMORY_SHARE * memory.allowed_bytes())
    assert Settings.from_environment({}).memory_bytes == Settings().memory_bytes == default


@pytest.mark.parametrize("value", ["much", "-1", "1.5", "²"])
def test_a_budget_that_is_none(value: str) -> None:
    with pytest.raises(SettingsError, match=r"VGG_DEMO_MEMORY_MB is .* whole number of megabytes"):
        Settings.from_environment({"VGG_DEMO_MEMORY_MB": value})


def test_this_process() -> None:
    memory.give_back()  # else what other tests have freed is used again
    before = memory.used_bytes()
    block = bytearray(b"x") * 200_000_000
    assert memory.used_bytes() - before > 150_000_000
    del block
    memory.give_back()
    assert memory.used_bytes() - before < 50_000_000
