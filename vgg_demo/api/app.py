"""The API's paths."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, Path, Query, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, PlainTextResponse, Response

from vgg_demo.api.metrics import CountRequests
from vgg_demo.api.middleware import LimitBodies, RequireKey, problem, retry_after
from vgg_demo.api.service import Service, Upload
from vgg_demo.api.settings import ApiSettings
from vgg_demo.errors import (
    BundleError,
    BusyError,
    DownloadingError,
    ImageError,
    UnknownModelError,
    VggDemoError,
    WeightsMissingError,
)
from vgg_demo.inference.results import SCHEMA
from vgg_demo.models.labels import describe_wnid
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import DEFAULT_MODEL, EMBEDDED_MODEL, MODELS, ModelSpec
from vgg_demo.reports.document import to_document
from vgg_demo.version import __version__
from vgg_demo.weights.local import describe, find_weights

UPLOAD_BYTES = 256 * 2**20
"""More than `server.maxUploadSize` in .streamlit/config.toml and `ApiSettings.body_bytes`."""

DOWNLOAD_SECONDS = 10
"""After which it is worth asking again for a model that is being downloaded."""

Model = Annotated[
    str, Query(max_length=100, description="Which model answers.", examples=[EMBEDDED_MODEL])
]
Top = Annotated[int, Query(ge=1, le=1000, description="How many answers to give.")]
Square = Annotated[Resize, Query(description="How the photo is made square.")]

PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["error", "message"],
                    "properties": {"error": {"type": "string"}, "message": {"type": "string"}},
                }
            }
        },
    }
    for status, description in {
        400: "The request cannot be read",
        401: "The server wants a key",
        404: "No such model or class, or not on this server",
        408: "The request did not arrive in time",
        413: "The request is too large",
        422: "No photo could be used, or a parameter is wrong",
        429: "Too much to do already; Retry-After says when to try again",
        503: "The model cannot be loaded, or is being downloaded",
    }.items()
}


def create_api(get_service: Callable[[], Service], settings: ApiSettings) -> FastAPI:
    """Returns the API as an application that can be mounted.

    Args:
        get_service: Returns what does the work; called at the first request.
        settings: Who may ask, and how much.
    """
    service = _once(get_service)
    # Starlette writes uploads of more than 1 MB to a temporary file. Ours stay in memory; also
    # the page's, which Streamlit has parsed by Starlette too.
    MultiPartParser.spool_max_size = UPLOAD_BYTES
    api: FastAPI = FastAPIOffline(
        title="VGG Demo",
        version=__version__,
        description="What VGG16 and its relatives make of photos. The answers are those of "
        "`vgg-demo … --json`.",
        redoc_url=None,
        middleware=_middleware(service, settings),
        dependencies=[Depends(HTTPBearer(auto_error=False))] if settings.key else [],
        responses=PROBLEMS,
    )
    _add_errors(api, service)
    _add_photos(api, service, settings)
    _add_models(api, service)
    _add_server(api, service)
    return api


def _add_photos(api: FastAPI, service: Callable[[], Service], settings: ApiSettings) -> None:
    """Adds what looks at photos."""

    @api.post("/v1/classify", tags=["photos"])
    async def classify(
        file: Annotated[list[UploadFile], File(description="A photo; may be given several times.")],
        model: Model = DEFAULT_MODEL,
        top: Top = 5,
        resize: Square = Resize.CROP,
    ) -> Response:
        """Says what is on photos. What cannot be used is listed under “errors”."""
        if len(file) > settings.files:
            return problem(
                422,
                "TooManyFiles",
                f"The request has {len(file)} photos; the limit is {settings.files}. "
                "Send the rest in another one.",
            )
        spec = service().find(model)
        uploads = [await _read(upload) for upload in file]
        results, failures = await service().classify(uploads, spec, resize)
        document = to_document(results, failures, top)
        if results:
            return JSONResponse(document)
        return problem(422, failures[0].error, failures[0].message, **document)

    @api.post("/v1/compare", tags=["photos"])
    async def compare(
        file: Annotated[UploadFile, File(description="A photo.")],
        models: Annotated[
            str,
            Query(
                max_length=1000,
                description="Names with commas; none: what is here.",
                examples=[EMBEDDED_MODEL],
            ),
        ] = "",
        top: Top = 5,
        resize: Square = Resize.CROP,
        repeat: Annotated[int, Query(ge=1, le=20, description="Runs that are measured.")] = 5,
    ) -> Response:
        """Lets several models answer one photo, and measures them."""
        names = [name for name in models.split(",") if name.strip()]
        specs = (
            list(dict.fromkeys(map(service().find, names))) or _here(service())[: settings.models]
        )
        if len(specs) > settings.models:
            return problem(
                422,
                "TooManyModels",
                f"The request names {len(specs)} models; the limit is {settings.models}.",
            )
        comparison = await service().compare(await _read(file), specs, resize, repeat)
        document = comparison.to_dict(top)
        for error in document["errors"]:
            error["message"] = service().without_folders(error["message"])
        return JSONResponse(document)


def _add_models(api: FastAPI, service: Callable[[], Service]) -> None:
    """Adds what tells of models and of what they know."""

    @api.get("/v1/models", tags=["models"])
    def models() -> Response:
        """Lists the models: which are here, and which are loaded."""
        loaded = service().store.loaded()
        records = [
            describe(spec, service().settings) | {"loaded": spec.name in loaded}
            for spec in (*MODELS.values(), *service().custom_models().values())
        ]
        return JSONResponse({"schema": SCHEMA, "models": records})

    @api.get("/v1/labels/{wnid}", tags=["models"])
    def label(wnid: Annotated[str, Path(examples=["n02123045"])]) -> Response:
        """Says what a WordNet ID stands for, and what it is a kind of."""
        found = describe_wnid(wnid)
        if found is None:
            return problem(404, "UnknownLabel", f"There is no class or kind {wnid[:20]!r} here.")
        return JSONResponse(found)


def _add_server(api: FastAPI, service: Callable[[], Service]) -> None:
    """Adds what is for those who watch over the server."""

    @api.get("/healthz", tags=["server"])
    async def healthz() -> Response:
        """Says that the server lives."""
        return JSONResponse({"status": "ok"})

    @api.get("/readyz", tags=["server"])
    async def readyz() -> Response:
        """Says whether a model is loaded, so that the first answer comes at once."""
        if service().store.loaded():
            return JSONResponse({"status": "ready"})
        return retry_after(problem(503, "NotReady", "No model is loaded yet."), seconds=1)

    @api.get("/metrics", tags=["server"], response_class=PlainTextResponse)
    def metrics() -> Response:
        """Tells a Prometheus of requests, times, models, memory and the queue."""
        text = generate_latest(service().metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _once(get: Callable[[], Service]) -> Callable[[], Service]:
    """Returns a function that makes something at its first call, whichever thread's that is."""
    lock, made = threading.Lock(), functools.cache(get)

    def get_once() -> Service:
        with lock:
            return made()

    return get_once


def _middleware(service: Callable[[], Service], settings: ApiSettings) -> list[Middleware]:
    """Returns what requests pass through, the outermost first."""
    cross_origin = Middleware(
        CORSMiddleware,
        allow_origins=settings.origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization"],
        expose_headers=["Retry-After"],
    )
    return [
        Middleware(CountRequests, get_metrics=lambda: service().metrics),
        *([cross_origin] if settings.origins else []),
        Middleware(RequireKey, settings=settings),
        Middleware(LimitBodies, settings=settings),
    ]


def _here(service: Service) -> list[ModelSpec]:
    return [spec for spec in MODELS.values() if find_weights(spec, service.settings)]


async def _read(upload: UploadFile) -> Upload:
    # A name in one of Python's odder encodings may hold what is no text.
    name = (upload.filename or "").encode(errors="replace").decode()
    return Upload(name, await upload.read())


def _add_errors(api: FastAPI, service: Callable[[], Service]) -> None:
    """Maps errors to answers, all of the same shape."""

    @api.exception_handler(VggDemoError)
    async def ours(_: Request, error: VggDemoError) -> Response:
        message = service().without_folders(str(error))
        response = problem(_status(error), type(error).__name__, message, **_more(error))
        if isinstance(error, BusyError):
            return retry_after(response, error.retry_seconds)
        if isinstance(error, DownloadingError):
            return retry_after(response, DOWNLOAD_SECONDS)
        return response

    @api.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return problem(422, "InvalidRequest", f"{where}: {first['msg']}.")

    @api.exception_handler(HTTPException)
    async def other(_: Request, error: HTTPException) -> Response:
        response = problem(error.status_code, "InvalidRequest", str(error.detail))
        response.headers.update(error.headers or {})
        return response


def _more(error: VggDemoError) -> dict[str, Any]:
    return {"near": list(error.near)} if isinstance(error, UnknownModelError) else {}


def _status(error: VggDemoError) -> int:
    match error:
        case ImageError():
            return 422
        case UnknownModelError() | WeightsMissingError() | BundleError():
            return 404
        case BusyError():
            return 429
        case _:
            return 503
