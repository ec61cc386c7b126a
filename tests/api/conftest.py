"""The API with the embedded model, without a server around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from vgg_demo.api import ApiSettings, Service, create_api
from vgg_demo.inference.background import Downloads
from vgg_demo.inference.store import ModelStore
from vgg_demo.settings import Settings

Open = Callable[..., TestClient]


@pytest.fixture(scope="session")
def settings() -> Settings:
    return Settings(cache_dir=Path("does-not-exist"), offline=True)


@pytest.fixture
def open_api(settings: Settings, store: ModelStore) -> Iterator[Open]:
    """Returns a function that makes a client of an API with some settings of its own."""
    clients: list[TestClient] = []

    def make(**limits: object) -> TestClient:
        allowed = replace(ApiSettings(), **limits)
        service = Service(settings, allowed, store, Downloads(settings, store))
        client = TestClient(create_api(lambda: service, allowed), raise_server_exceptions=False)
        client.service = service
        clients.append(client.__enter__())
        return client

    yield make
    for client in clients:
        client.__exit__()


@pytest.fixture
def api(open_api: Open) -> TestClient:
    return open_api()
