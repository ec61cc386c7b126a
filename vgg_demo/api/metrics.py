"""Prometheus metrics of the API."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vgg_demo import memory
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import MODELS

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram of response times, in seconds."""


class Metrics:
    """Metrics of one server.

    Attributes:
        registry: The Prometheus registry.
        requests: Number of requests, by path and status.
        seconds: Response times in seconds, by path.
        photos: Number of classified photos, by model.

    Args:
        store: The loaded models.
        count_waiting: Returns the number of photos that are waiting or in progress.
    """

    def __init__(self, store: ModelStore, count_waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "vgg_demo_requests", "HTTP requests.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "vgg_demo_request_seconds",
            "Time from the start of a request to the end of its response.",
            ["path"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.photos = Counter(
            "vgg_demo_photos", "Photos classified.", ["model"], registry=self.registry
        )
        self.registry.register(_StateCollector(store, count_waiting))


def anonymize_model(name: str) -> str:
    """Returns the name of a model, or "custom": names of custom models may be private."""
    return name if name.partition("/")[0] in MODELS else "custom"


class _StateCollector(Collector):
    """Measures memory and the queue at the time of the scrape."""

    def __init__(self, store: ModelStore, count_waiting: Callable[[], int]) -> None:
        self._store = store
        self._count_waiting = count_waiting

    def collect(self) -> Iterator[Metric]:
        loaded = GaugeMetricFamily(
            "vgg_demo_loaded_model_bytes", "Memory used by a loaded model.", labels=["model"]
        )
        sizes: dict[str, int] = {}
        for model, size_bytes in self._store.loaded().items():
            name = anonymize_model(model)
            sizes[name] = sizes.get(name, 0) + size_bytes
        for name, size_bytes in sizes.items():
            loaded.add_metric([name], size_bytes)
        yield loaded
        yield GaugeMetricFamily(
            "vgg_demo_memory_bytes", "Resident memory of the process.", memory.used_bytes()
        )
        yield GaugeMetricFamily(
            "vgg_demo_waiting_photos", "Photos waiting or in progress.", self._count_waiting()
        )


class CountRequests:
    """Middleware that counts requests and measures response times, by path template."""

    def __init__(self, app: ASGIApp, get_metrics: Callable[[], Metrics]) -> None:
        self._app = app
        self._get_metrics = get_metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 500

        async def send_and_record_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_record_status)
        finally:
            # Clients may request arbitrary paths; only existing ones get their own time series.
            route = scope.get("route")
            path = route.path if isinstance(route, APIRoute) else "other"
            metrics = self._get_metrics()
            metrics.requests.labels(path, str(status)).inc()
            metrics.seconds.labels(path).observe(time.perf_counter() - started)
