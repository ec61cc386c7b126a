"""The endpoints of the HTTP API."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, FastAPI, File, Path, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import JSONResponse, Response

from vgg_demo.api.metrics import CountRequests
from vgg_demo.api.middleware import LimitBodies, RequireKey, problem, retry_after
from vgg_demo.api.schemas import (
    PROBLEMS,
    TAGS,
    Health,
    ModelName,
    ModelNames,
    Readiness,
    Repeat,
    ResizeMethod,
    TopK,
)
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
from vgg_demo.models.registry import DEFAULT_MODEL, MODELS, ModelSpec
from vgg_demo.reports.document import to_document
from vgg_demo.version import __version__
from vgg_demo.weights.local import describe_model, find_weights

UPLOAD_BYTES = 256 * 2**20
"""Maximum size of an upload held in memory. It exceeds `server.maxUploadSize` in
``.streamlit/config.toml`` and `ApiSettings.max_body_bytes`."""

DOWNLOAD_SECONDS = 10
"""Retry-After for a model that is being downloaded, in seconds."""

SEE_DOCS = "See /api/docs."
"""Advice at the end of messages about invalid requests."""

DESCRIPTION = (
    "Classifies photos with VGG16 and the other Keras Applications models. The results are the "
    "JSON documents that `vgg-demo classify --json` and `vgg-demo compare --json` print."
)


def create_api(get_service: Callable[[], Service], settings: ApiSettings) -> FastAPI:
    """Returns the API as an ASGI application that can be mounted.

    Args:
        get_service: Returns the service; called once, at the first request.
        settings: Access and limits.
    """
    service = _once(get_service)
    # Starlette writes uploads of more than 1 MB to temporary files; photos must not be written to
    # disk. This also holds for uploads on the page, which Streamlit parses with Starlette.
    MultiPartParser.spool_max_size = UPLOAD_BYTES
    api: FastAPI = FastAPIOffline(
        title="VGG Demo",
        version=__version__,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        redoc_url=None,
        middleware=_middleware(service, settings),
        dependencies=[Depends(HTTPBearer(auto_error=False))] if settings.key else [],
        responses=PROBLEMS,
    )
    _add_error_handlers(api, service)
    _add_photo_endpoints(api, service, settings)
    _add_model_endpoints(api, service)
    _add_server_endpoints(api, service)
    return api


def _add_photo_endpoints(
    api: FastAPI, service: Callable[[], Service], settings: ApiSettings
) -> None:
    @api.post("/v1/classify", tags=["photos"], summary="Classify photos")
    async def classify(
        file: Annotated[
            list[UploadFile], File(description="A photo. Repeat the field to send several.")
        ],
        model: ModelName = DEFAULT_MODEL,
        top: TopK = 5,
        resize: ResizeMethod = Resize.CROP,
    ) -> Response:
        """Returns the most probable classes of each photo.

        If only some of the photos can be used, `errors` lists the others. If none can be used,
        the status is 422.
        """
        if len(file) > settings.max_photos:
            return problem(
                422,
                "TooManyFiles",
                f"The request has {len(file)} photos; the limit is {settings.max_photos}. "
                "Send the rest in another request.",
            )
        spec = service().find_model(model)
        uploads = [await _read(upload) for upload in file]
        results, failures = await service().classify(uploads, spec, resize)
        document = to_document(results, failures, top)
        if results:
            return JSONResponse(document)
        return problem(422, failures[0].error, failures[0].message, **document)

    @api.post("/v1/compare", tags=["photos"], summary="Compare models on one photo")
    async def compare(
        file: Annotated[UploadFile, File(description="A photo.")],
        models: ModelNames = "",
        top: TopK = 5,
        resize: ResizeMethod = Resize.CROP,
        repeat: Repeat = 5,
    ) -> Response:
        """Returns each model's predictions, latency and memory, and how far the models agree.

        `errors` lists the models that cannot be loaded.
        """
        names = [name for name in models.split(",") if name.strip()]
        specs = (
            list(dict.fromkeys(map(service().find_model, names)))
            or _installed_models(service())[: settings.max_models]
        )
        if len(specs) > settings.max_models:
            return problem(
                422,
                "TooManyModels",
                f"The request names {len(specs)} models; the limit is {settings.max_models}. "
                "Name fewer models.",
            )
        comparison = await service().compare(await _read(file), specs, resize, repeat)
        document = comparison.to_dict(top)
        for error in document["errors"]:
            error["message"] = service().redact_paths(error["message"])
        return JSONResponse(document)


def _add_model_endpoints(api: FastAPI, service: Callable[[], Service]) -> None:
    @api.get("/v1/models", tags=["models"], summary="List the models")
    def models() -> Response:
        """Returns all models: their properties, and whether they are installed and loaded."""
        loaded = service().store.loaded()
        records = [
            describe_model(spec, service().settings) | {"loaded": spec.name in loaded}
            for spec in (*MODELS.values(), *service().custom_models().values())
        ]
        return JSONResponse({"schema": SCHEMA, "models": records})

    @api.get("/v1/labels/{wnid}", tags=["models"], summary="Describe a WordNet ID")
    def label(
        wnid: Annotated[
            str,
            Path(description="WordNet ID: “n” and eight digits.", examples=["n02123045"]),
        ],
    ) -> Response:
        """Returns the name, the definition and the more general terms of a class.

        WordNet IDs of the more general terms are accepted too.
        """
        description = describe_wnid(wnid)
        if description is None:
            return problem(
                404,
                "UnknownLabel",
                f"No class or more general term has the WordNet ID {wnid[:20]!r}. "
                "Predictions contain valid WordNet IDs.",
            )
        return JSONResponse(description)


def _add_server_endpoints(api: FastAPI, service: Callable[[], Service]) -> None:
    @api.get("/healthz", tags=["server"], summary="Check that the server is alive")
    async def healthz() -> Health:
        """Returns 200 while the server process is alive. Requires no API key."""
        return Health()

    @api.get(
        "/readyz",
        tags=["server"],
        summary="Check that a model is loaded",
        response_model=Readiness,
    )
    async def readyz() -> Readiness | Response:
        """Returns 200 once a model is loaded, so that the first prediction is fast, else 503.

        Requires no API key.
        """
        if service().store.loaded():
            return Readiness()
        return retry_after(problem(503, "NotReady", "No model is loaded yet."), seconds=1)

    @api.get(
        "/metrics",
        tags=["server"],
        summary="Get metrics for Prometheus",
        response_class=Response,  # has no media type, so that errors are documented as JSON
        responses={
            200: {
                "description": "Metrics in the text format of Prometheus",
                "content": {"text/plain": {"schema": {"type": "string"}}},
            }
        },
    )
    def metrics() -> Response:
        """Returns counts of requests and photos, response times, memory and queue length."""
        text = generate_latest(service().metrics.registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _once(get: Callable[[], Service]) -> Callable[[], Service]:
    """Returns a thread-safe function that calls `get` once and returns its result each time."""
    lock, cached = threading.Lock(), functools.cache(get)

    def get_once() -> Service:
        with lock:
            return cached()

    return get_once


def _middleware(service: Callable[[], Service], settings: ApiSettings) -> list[Middleware]:
    """Returns the middleware, outermost first."""
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


def _installed_models(service: Service) -> list[ModelSpec]:
    return [spec for spec in MODELS.values() if find_weights(spec, service.settings)]


async def _read(upload: UploadFile) -> Upload:
    # A name in an encoding such as UTF-7 may contain lone surrogates, which JSON cannot encode.
    name = (upload.filename or "").encode(errors="replace").decode()
    return Upload(name, await upload.read())


def _add_error_handlers(api: FastAPI, service: Callable[[], Service]) -> None:
    """Converts errors into responses, all with the fields of `Problem`."""

    @api.exception_handler(VggDemoError)
    async def handle_package_error(_: Request, error: VggDemoError) -> Response:
        message = service().redact_paths(str(error))
        if isinstance(error, UnknownModelError):
            message += ", or GET /api/v1/models"
        response = problem(
            _status_code(error), type(error).__name__, message, **_error_details(error)
        )
        if isinstance(error, BusyError):
            return retry_after(response, error.retry_seconds)
        if isinstance(error, DownloadingError):
            return retry_after(response, DOWNLOAD_SECONDS)
        return response

    @api.exception_handler(RequestValidationError)
    async def handle_invalid_request(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        location = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return problem(422, "InvalidRequest", f"{location}: {first['msg']}. {SEE_DOCS}")

    @api.exception_handler(HTTPException)
    async def handle_http_error(request: Request, error: HTTPException) -> Response:
        message = {
            404: f"No such endpoint. {SEE_DOCS}",
            405: f"This endpoint does not support the method {request.method}. {SEE_DOCS}",
        }.get(error.status_code, str(error.detail))
        response = problem(error.status_code, "InvalidRequest", message)
        response.headers.update(error.headers or {})
        return response


def _error_details(error: VggDemoError) -> dict[str, Any]:
    return {"near": list(error.near)} if isinstance(error, UnknownModelError) else {}


def _status_code(error: VggDemoError) -> int:
    match error:
        case ImageError():
            return 422
        case UnknownModelError() | WeightsMissingError() | BundleError():
            return 404
        case BusyError():
            return 429
        case _:
            return 503
