"""Tasks for contributors: `nox -s quick`, `nox -s check`, `nox -s test`, `nox -s screenshots`."""

from __future__ import annotations

import nox

nox.options.sessions = ["lint", "check", "quick"]
QUICK = ("analysis", "files", "images", "models", "reports", "weights")

nox.options.reuse_existing_virtualenvs = True


def install(session: nox.Session) -> None:
    session.install("-e", ".[dev]")


@nox.session
def lint(session: nox.Session) -> None:
    """Formats the code and fixes what Ruff can fix."""
    install(session)
    session.run("ruff", "format", ".")
    session.run("ruff", "check", "--fix", ".")


@nox.session
def check(session: nox.Session) -> None:
    """Checks format, lint, types, import contracts and generated documentation."""
    install(session)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("lint-imports")
    session.run("python", "tools/generate_docs.py", "--check")


@nox.session
def quick(session: nox.Session) -> None:
    """Runs the fast unit tests, which take less than a minute."""
    install(session)
    session.run("pytest", *(f"tests/{name}" for name in QUICK), *session.posargs)


@nox.session
def test(session: nox.Session) -> None:
    """Runs the default tests with coverage; for the slow tests, `nox -s test -- -m slow -n 0`."""
    install(session)
    coverage = [] if session.posargs else ["--cov"]  # a part of the tests misses the minimum
    session.run("pytest", *coverage, *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Generates the command-line reference and the table of settings."""
    install(session)
    session.run("python", "tools/generate_docs.py")


@nox.session
def screenshots(session: nox.Session) -> None:
    """Takes screenshots of a running app: `nox -s screenshots -- http://localhost:8501`."""
    install(session)
    session.run("python", "tools/take_screenshots.py", *session.posargs)
