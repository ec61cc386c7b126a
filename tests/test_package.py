"""What an installed package brings along."""

from __future__ import annotations

import fnmatch
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_all_that_is_no_python_is_installed_too() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["vgg_demo"]
    package = ROOT / "vgg_demo"
    others = [
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert len(others) > 10
    left_out = [name for name in others if not any(fnmatch.fnmatch(name, one) for one in patterns)]
    assert left_out == []
