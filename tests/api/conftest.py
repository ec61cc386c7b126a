"""Fixtures: the API with the embedded model, called in-process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from vgg_demo.api import ApiSettings, Service, create_api
from vgg_demo.inference.background import BackgroundDownloads
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.settings import Settings

OpenApi = Callable[..., TestClient]


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(cache_dir=Path("does-not-exist"), offline=True)


@pytest.fixture
def open_api(settings: Settings, store: ModelStore) -> Iterator[OpenApi]:
    """Returns a function that opens a client for an API with the given settings."""
    clients: list[TestClient] = []

    def open_client(**changes: object) -> TestClient:
        api_settings = replace(ApiSettings(), **changes)
        service = Service(settings, api_settings, store, BackgroundDownloads(settings, store))
        client = TestClient(
            create_api(lambda: service, api_settings), raise_server_exceptions=False
        )
        client.service = service
        clients.append(client.__enter__())
        return client

    yield open_client
    for client in clients:
        client.__exit__()


@pytest.fixture
def api(open_api: OpenApi) -> TestClient:
    return open_api()
