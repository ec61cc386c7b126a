"""The JSON document of results that the page, the command line and the API share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from vgg_demo.analysis.verdict import interpret, one_line
from vgg_demo.inference.results import SCHEMA, Classification, Failure


def to_document(
    results: Sequence[Classification], errors: Sequence[Failure], top: int = 5
) -> dict[str, Any]:
    """Returns results and errors as a document of plain JSON values.

    Args:
        results: Classifications of the photos that could be used.
        errors: Failures of the other photos.
        top: Maximum number of predictions per result.
    """
    return {
        "schema": SCHEMA,
        "results": [_with_verdict(result, top) for result in results],
        "errors": [asdict(error) for error in errors],
    }


def _with_verdict(result: Classification, top: int) -> dict[str, Any]:
    verdict = interpret(result)
    return result.to_dict(top) | {"verdict": one_line(verdict), "sure": verdict.is_sure}
