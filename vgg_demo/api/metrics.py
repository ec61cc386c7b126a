"""What the server tells a Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vgg_demo import memory
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.registry import MODELS

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)  # seconds


class Metrics:
    """Counts of one server.

    Attributes:
        registry: What is told.
    """

    def __init__(self, store: ModelStore, count_waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "vgg_demo_requests", "Requests answered.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "vgg_demo_request_seconds",
            "From a request's first byte to the end of its answer.",
            ["path"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.photos = Counter(
            "vgg_demo_photos", "Photos classified.", ["model"], registry=self.registry
        )
        self.registry.register(_Now(store, count_waiting))


def public_name(model: str) -> str:
    """Returns the name of a model, but of taught ones: some are only their visitors' business."""
    return model if model.partition("/")[0] in MODELS else "custom"


class _Now(Collector):
    """What is measured when it is asked for."""

    def __init__(self, store: ModelStore, count_waiting: Callable[[], int]) -> None:
        self._store = store
        self._count_waiting = count_waiting

    def collect(self) -> Iterator[Metric]:
        loaded = GaugeMetricFamily(
            "vgg_demo_loaded_model_bytes", "Memory that a loaded model takes.", labels=["model"]
        )
        sizes: dict[str, int] = {}
        for model, size_bytes in self._store.loaded().items():
            sizes[public_name(model)] = sizes.get(public_name(model), 0) + size_bytes
        for name, size_bytes in sizes.items():
            loaded.add_metric([name], size_bytes)
        yield loaded
        yield GaugeMetricFamily(
            "vgg_demo_memory_bytes", "Memory that the process holds.", memory.used_bytes()
        )
        yield GaugeMetricFamily(
            "vgg_demo_waiting_photos", "Photos that wait, or are at work.", self._count_waiting()
        )


class CountRequests:
    """Counts requests by the pattern of their path, and how long they take."""

    def __init__(self, app: ASGIApp, get_metrics: Callable[[], Metrics]) -> None:
        self._app = app
        self._get_metrics = get_metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            # Strangers ask for any path; only those that there are get a line of their own.
            route = scope.get("route")
            path = route.path if isinstance(route, APIRoute) else "other"
            metrics = self._get_metrics()
            metrics.requests.labels(path, str(status)).inc()
            metrics.seconds.labels(path).observe(time.perf_counter() - started)
