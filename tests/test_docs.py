"""The documentation matches the code, and its links lead to existing files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tools.generate_docs import DOCS, PAGES
from vgg_demo.cli import main as vgg_demo

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("benchmarks/*.md")])
VARIABLE = re.compile(r"VGG_DEMO_[A-Z]+(?:_[A-Z]+)*")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_relative_links_lead_to_existing_files(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#\s]+)", text)
    missing = [
        target
        for target in targets
        if not re.match(r"[a-z]+:", target) and not (document.parent / target).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_matches_the_code(name: str) -> None:
    path = DOCS / name
    written = path.read_text(encoding="utf-8") if path.exists() else ""
    assert written == PAGES[name](), f"docs/{name} is stale. Run: python tools/generate_docs.py"


def test_every_environment_variable_is_documented() -> None:
    page = (DOCS / "configuration.md").read_text(encoding="utf-8")
    variables = {
        variable
        for path in (ROOT / "vgg_demo").rglob("*.py")
        for variable in VARIABLE.findall(path.read_text(encoding="utf-8"))
    }
    assert variables
    assert variables - set(VARIABLE.findall(page)) == set()


def test_python_example_runs() -> None:
    """Runs the code block of `docs/python.md` in the project's folder, as on the page."""
    page = (DOCS / "python.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL))
    process = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout.splitlines()[-1].startswith("A cat, ")


def test_documents_mention_only_existing_commands() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    named = set(re.findall(r"\bvgg-demo ([a-z][a-z-]+)", text))
    assert "serve" in named
    assert named - set(vgg_demo.commands) == set()
