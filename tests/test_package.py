"""The installed package: its data files, and the side effects of importing it."""

from __future__ import annotations

import fnmatch
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_data_files_are_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["vgg_demo"]
    package = ROOT / "vgg_demo"
    data_files = [
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert len(data_files) > 10
    missing = [
        name
        for name in data_files
        if not any(fnmatch.fnmatch(name, pattern) for pattern in patterns)
    ]
    assert missing == []


IMPORT_PACKAGE = """
import os
import sys

before = dict(os.environ)
import vgg_demo

changed = set(before.items()) ^ set(os.environ.items())
heavy = {"tensorflow", "keras", "streamlit"} & set(sys.modules)
print(sorted(changed), sorted(heavy))
"""


def test_importing_the_package_sets_no_environment_variables_and_loads_no_heavy_libraries() -> None:
    process = subprocess.run(
        [sys.executable, "-c", IMPORT_PACKAGE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (process.stdout, process.stderr) == ("[] []\n", "")
