"""Published custom models in the API."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from vgg_demo.api import ApiSettings, Service, create_api
from vgg_demo.files.sources import find_photos
from vgg_demo.inference.background import BackgroundDownloads
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.dataset import label_by_folders
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.progress import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.trainer import Trainer


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, crops: Path) -> Settings:
    bundles = tmp_path_factory.mktemp("bundles")
    server_settings = Settings(
        cache_dir=Path("does-not-exist"), offline=True, chosen_bundles_dir=bundles
    )
    recipe = Recipe(epochs=3, views=1, learning_rate=1e-3)
    store = ModelStore(server_settings)
    trainer = Trainer(get_spec("mini_vgg"), recipe, server_settings, store, FeatureCache(None))
    inspected = run_to_end(trainer.inspect(label_by_folders(find_photos([str(crops)]))))
    training_data = run_to_end(trainer.prepare(inspected))
    head = run_to_end(trainer.train(training_data))
    trainer.finish(training_data, trainer.with_head(training_data, head), bundles / "pets.bundle")
    return server_settings


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    store = ModelStore(settings)
    service = Service(settings, ApiSettings(), store, BackgroundDownloads(settings, store))
    with TestClient(create_api(lambda: service, ApiSettings())) as client:
        yield client


def test_custom_model_is_used_by_name(api: TestClient, photos: dict[str, bytes]) -> None:
    files = [("file", ("parrot.jpg", photos["parrot"]))]
    result = api.post("/v1/classify?model=pets", files=files).json()["results"][0]
    assert result["predictions"][0]["label"] == "parrot"
    assert result["model"].startswith("pets@")
    by_full_name = api.post(f"/v1/classify?model={result['model']}", files=files).json()
    assert by_full_name["results"][0]["predictions"] == result["predictions"]
    results = api.post("/v1/compare?models=pets,mini_vgg", files=files).json()["results"]
    assert [result["predictions"][0]["label"] for result in results] == ["parrot", "bird"]


def test_metrics_do_not_contain_names_of_custom_models(
    api: TestClient, photos: dict[str, bytes]
) -> None:
    files = [("file", ("parrot.jpg", photos["parrot"]))]
    api.post("/v1/classify?model=pets", files=files)
    api.post("/v1/compare?models=pets", files=files)
    metrics = api.get("/metrics").text
    assert 'vgg_demo_photos_total{model="custom"} 2.0' in metrics
    assert "pets" not in metrics


def test_custom_model_is_listed(api: TestClient) -> None:
    models = api.get("/v1/models").json()["models"]
    (model,) = (model for model in models if model["custom"])
    assert model["name"].startswith("pets@")
    assert model["custom"] == {"backbone": "mini_vgg", "classes": ["cat", "parrot", "rocket"]}


def test_a_path_is_not_a_model_name(
    api: TestClient, settings: Settings, photos: dict[str, bytes]
) -> None:
    for name in (settings.bundles_dir / "pets.bundle", "../pets.bundle", "pets.bundle"):
        response = api.post(
            "/v1/classify", params={"model": str(name)}, files=[("file", photos["cat"])]
        )
        assert (response.status_code, response.json()["error"]) == (404, "UnknownModelError")


def test_ambiguous_name_is_rejected(
    api: TestClient, settings: Settings, photos: dict[str, bytes]
) -> None:
    other = settings.bundles_dir / "pets"
    shutil.copytree(settings.bundles_dir / "pets.bundle", other)
    spec = other / "spec.json"
    spec.write_text(
        spec.read_text().replace('"unknown_threshold": ', '"unknown_threshold": 0.25, "was": ')
    )
    try:
        response = api.post("/v1/classify?model=pets", files=[("file", photos["cat"])])
        assert (response.status_code, response.json()["error"]) == (404, "BundleError")
        assert "Several models are named 'pets'. Choose one of: pets@" in response.json()["message"]
    finally:
        shutil.rmtree(other)
