"""Schemas of requests and responses: parameters, small responses and errors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import Query
from pydantic import BaseModel, Field

from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import EMBEDDED_MODEL

ModelName = Annotated[
    str,
    Query(
        max_length=100,
        description="Name of the model, as listed by `GET /v1/models`.",
        examples=[EMBEDDED_MODEL],
    ),
]
ModelNames = Annotated[
    str,
    Query(
        max_length=1000,
        description="Names of the models, separated by commas. Default: the installed models, "
        "up to the limit of models per request.",
        examples=[EMBEDDED_MODEL],
    ),
]
TopK = Annotated[
    int, Query(ge=1, le=1000, description="Number of predictions per photo, best first.")
]
ResizeMethod = Annotated[
    Resize,
    Query(
        description="How the photo is made square: `crop` keeps the center, `squash` fits the "
        "whole photo and distorts shapes, `pad` fits the whole photo between gray bars."
    ),
]
Repeat = Annotated[int, Query(ge=1, le=20, description="Number of timed runs of each model.")]

TAGS = [
    {"name": "photos", "description": "Classify photos."},
    {"name": "models", "description": "List the models and look up their classes."},
    {"name": "server", "description": "Monitor the server."},
]
"""Groups of endpoints in the documentation."""


class Problem(BaseModel):
    """Body of every error response."""

    error: str = Field(description="Name of the error.", examples=["UnknownModelError"])
    message: str = Field(description="What went wrong and what to do.")


class Health(BaseModel):
    """The server process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """A model is loaded."""

    status: Literal["ready"] = "ready"


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The request cannot be read",
        401: "The server requires an API key",
        404: "No such model or class, or not installed on this server",
        408: "The request did not arrive in time",
        413: "The request is too large",
        422: "No photo could be used, or a parameter is invalid",
        429: "The server is busy; Retry-After gives the seconds to wait",
        503: "The model cannot be loaded, or is being downloaded",
    }.items()
}
"""Documentation of the error responses, by status code."""
