"""Taught models over HTTP: those that are kept on the server, by their names."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from vgg_demo.api import ApiSettings, Service, create_api
from vgg_demo.files.sources import find_photos
from vgg_demo.inference.background import Downloads
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.dataset import label_by_folders
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.generators import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.trainer import Trainer


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, pieces: Path) -> Settings:
    bundles = tmp_path_factory.mktemp("bundles")
    found = Settings(cache_dir=Path("does-not-exist"), offline=True, chosen_bundles_dir=bundles)
    recipe = Recipe(epochs=3, views=1, rate=1e-3)
    trainer = Trainer(get_spec("mini_vgg"), recipe, found, ModelStore(found), FeatureCache(None))
    inspected = run_to_end(trainer.check(label_by_folders(find_photos([str(pieces)]))))
    training_data = run_to_end(trainer.prepare(inspected))
    head = run_to_end(trainer.train(training_data))
    trainer.finish(training_data, trainer.with_head(training_data, head), bundles / "pets.bundle")
    return found


@pytest.fixture
def api(settings: Settings) -> Iterator[TestClient]:
    store = ModelStore(settings)
    service = Service(settings, ApiSettings(), store, Downloads(settings, store))
    with TestClient(create_api(lambda: service, ApiSettings())) as client:
        yield client


def test_it_answers_by_its_name(api: TestClient, photos: dict[str, bytes]) -> None:
    files = [("file", ("parrot.jpg", photos["parrot"]))]
    answer = api.post("/v1/classify?model=pets", files=files).json()["results"][0]
    assert answer["predictions"][0]["label"] == "parrot"
    assert answer["model"].startswith("pets@")
    again = api.post(f"/v1/classify?model={answer['model']}", files=files).json()["results"][0]
    assert again["predictions"] == answer["predictions"]
    answers = api.post("/v1/compare?models=pets,mini_vgg", files=files).json()["results"]
    assert [one["predictions"][0]["label"] for one in answers] == ["parrot", "bird"]


def test_it_is_listed(api: TestClient) -> None:
    (found,) = (one for one in api.get("/v1/models").json()["models"] if one["custom"])
    assert found["name"].startswith("pets@")
    assert found["custom"] == {"backbone": "mini_vgg", "classes": ["cat", "parrot", "rocket"]}


def test_a_path_is_no_name(api: TestClient, settings: Settings, photos: dict[str, bytes]) -> None:
    for name in (settings.bundles_dir / "pets.bundle", "../pets.bundle", "pets.bundle"):
        answer = api.post(
            "/v1/classify", params={"model": str(name)}, files=[("file", photos["cat"])]
        )
        assert (answer.status_code, answer.json()["error"]) == (404, "UnknownModelError")


def test_two_of_one_name(api: TestClient, settings: Settings, photos: dict[str, bytes]) -> None:
    other = settings.bundles_dir / "pets"
    shutil.copytree(settings.bundles_dir / "pets.bundle", other)
    spec = other / "spec.json"
    spec.write_text(spec.read_text().replace('"unknown_below": ', '"unknown_below": 0.25, "was": '))
    try:
        answer = api.post("/v1/classify?model=pets", files=[("file", photos["cat"])])
        assert (answer.status_code, answer.json()["error"]) == (404, "BundleError")
        assert "Several models are called 'pets'. Say which one: pets@" in answer.json()["message"]
    finally:
        shutil.rmtree(other)
