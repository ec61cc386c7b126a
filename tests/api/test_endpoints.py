"""The API in-process: results, errors, limits, access and settings."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient
from urllib3 import encode_multipart_formdata

from tests.api.conftest import OpenApi
from vgg_demo.api import ApiSettings
from vgg_demo.cli import main
from vgg_demo.errors import SettingsError
from vgg_demo.inference.background import Download, Status
from vgg_demo.inference.batching import MicroBatcher
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import MODELS
from vgg_demo.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "vgg_demo" / "data" / "examples"
CLASSIFY = "/v1/classify?model=mini_vgg"


def part(data: bytes, name: str = "photo.jpg") -> tuple[str, tuple[str, bytes]]:
    """Returns a photo as a part of a multipart form."""
    return "file", (name, data)


def test_classify_returns_the_document_of_the_command_line(api: TestClient) -> None:
    paths = [EXAMPLES / "cat.jpg", EXAMPLES / "credits.json", EXAMPLES / "dog.jpg"]
    arguments = ["classify", *map(str, paths), "--model", "mini_vgg", "--top", "3", "--json"]
    expected = json.loads(CliRunner().invoke(main, arguments).stdout)
    files = [part(path.read_bytes(), str(path)) for path in paths]
    response = api.post(f"{CLASSIFY}&top=3", files=files)
    assert response.status_code == 200
    document = response.json()
    for result in (*expected["results"], *document["results"]):
        assert all(seconds > 0 for seconds in result.pop("seconds").values())
    assert document == expected
    assert [error["error"] for error in document["errors"]] == ["NotAnImageError"]


def test_resize_method_is_applied(api: TestClient, photos: dict[str, bytes]) -> None:
    response = api.post(f"{CLASSIFY}&resize=pad", files=[part(photos["parrot"])])
    assert response.json()["results"][0]["resize"] == "pad"


def test_compare_defaults_to_all_installed_models(
    api: TestClient, photos: dict[str, bytes]
) -> None:
    url = "/v1/compare?models=mini_vgg,vgg16&repeat=2&top=1"
    document = api.post(url, files=[part(photos["cat"])]).json()
    (result,), (error,) = document["results"], document["errors"]
    assert result["predictions"][0]["label"] == "cat"
    assert len(result["runs"]["seconds"]) == 2
    assert (error["model"], error["error"]) == ("vgg16", "WeightsMissingError")
    document = api.post("/v1/compare", files=[part(photos["cat"])]).json()
    assert [result["model"] for result in document["results"]] == ["mini_vgg"]


def test_models_lists_installed_and_loaded_models(
    api: TestClient, photos: dict[str, bytes]
) -> None:
    api.post(CLASSIFY, files=[part(photos["cat"])])
    models = {model["name"]: model for model in api.get("/v1/models").json()["models"]}
    assert list(models) == list(MODELS)
    assert (models["mini_vgg"]["installed"], models["mini_vgg"]["loaded"]) == (True, True)
    assert (models["vgg16"]["installed"], models["vgg16"]["loaded"]) == (False, False)
    assert "path" not in models["mini_vgg"]  # paths on the server are private


def test_labels_describes_a_wordnet_id(api: TestClient) -> None:
    tabby = api.get("/v1/labels/n02123045").json()
    assert tabby["classes"] == [{"labels": "imagenet", "index": 281, "label": "tabby"}]
    assert [ancestor["name"] for ancestor in tabby["hypernyms"]][:2] == ["domestic cat", "cat"]
    assert api.get("/v1/labels/n02121620").json()["classes"][0]["labels"] == "cifar10"
    assert api.get("/v1/labels/n99999999").status_code == 404


def test_health_and_readiness_are_reported(api: TestClient, photos: dict[str, bytes]) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    api.post(CLASSIFY, files=[part(photos["cat"])])
    assert api.get("/readyz").json() == {"status": "ready"}


def test_metrics_count_requests_and_photos(api: TestClient, photos: dict[str, bytes]) -> None:
    api.post(CLASSIFY, files=[part(photos["cat"]), part(photos["dog"])])
    for path in ("/v1/labels/n02123045", "/v1/labels/n02124075", "/a/b", "/c"):
        api.get(path)
    text = api.get("/metrics").text
    for line in (
        'vgg_demo_requests_total{path="/v1/classify",status="200"} 1.0',
        'vgg_demo_requests_total{path="/v1/labels/{wnid}",status="200"} 2.0',
        'vgg_demo_requests_total{path="other",status="404"} 2.0',
        'vgg_demo_photos_total{model="mini_vgg"} 2.0',
        "vgg_demo_waiting_photos 0.0",
        'vgg_demo_loaded_model_bytes{model="mini_vgg"} ',
        'vgg_demo_request_seconds_count{path="/v1/classify"} 1.0',
        "vgg_demo_memory_bytes ",
    ):
        assert line in text


def test_documentation_loads_nothing_from_other_servers(api: TestClient) -> None:
    page = api.get("/docs").text
    assert "swagger" in page
    assert "https://" not in page
    assert api.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


def test_openapi_describes_every_operation_parameter_and_error(api: TestClient) -> None:
    document = api.get("/openapi.json").json()
    tags = {tag["name"] for tag in document["tags"] if tag["description"]}
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert len(operations) == 7
    for operation in operations:
        assert operation["summary"]
        assert operation["description"]
        assert set(operation["tags"]) <= tags
        assert all(parameter["description"] for parameter in operation.get("parameters", []))
        for status, response in operation["responses"].items():
            if status != "200":
                assert response["content"] == {
                    "application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                }


@pytest.mark.parametrize(
    ("url", "photo", "status", "error", "message"),
    [
        ("/v1/classify?model=vgg61", "cat", 404, "UnknownModelError", "Did you mean vgg19"),
        ("/v1/classify", "cat", 404, "WeightsMissingError", "VGG16 is not installed on"),
        (CLASSIFY + "&top=0", "cat", 422, "InvalidRequest", "top: Input should be greater"),
        (CLASSIFY + "&resize=x", "cat", 422, "InvalidRequest", "resize: Input should be 'crop'"),
        ("/v1/compare?models=vgg61", "cat", 404, "UnknownModelError", "Did you mean"),
        ("/v1/compare?models=mini_vgg", "bad", 422, "NotAnImageError", "not an image"),
        ("/v1/compare?repeat=21", "cat", 422, "InvalidRequest", "repeat: Input should be less"),
        ("/v1/compare?models=vgg16,vgg19,xception,resnet50,resnet101,mini_vgg", "cat", 422,
         "TooManyModels", "names 6 models; the limit is 5"),
        ("/v1/nothing", "cat", 404, "InvalidRequest", "No such endpoint. See /api/docs."),
        ("/v1/models", "cat", 405, "InvalidRequest",
         "does not support the method POST. See /api/docs."),
    ],
)  # fmt: skip
def test_invalid_request_is_rejected(
    url: str,
    photo: str,
    status: int,
    error: str,
    message: str,
    api: TestClient,
    photos: dict[str, bytes],
) -> None:
    response = api.post(url, files=[part(photos.get(photo, b"not an image"))])
    assert response.status_code == status
    assert response.json()["error"] == error
    assert message in response.json()["message"]


def test_unknown_model_suggests_near_matches(api: TestClient, photos: dict[str, bytes]) -> None:
    response = api.post("/v1/classify?model=vgg61", files=[part(photos["cat"])])
    assert response.json()["near"] == ["vgg19", "vgg16"]
    assert response.json()["message"].endswith("or GET /api/v1/models")


def test_request_without_a_usable_photo_is_rejected(
    api: TestClient, encode: Callable[..., bytes]
) -> None:
    huge = encode(Image.new("1", (8000, 7000)), "PNG")
    response = api.post(CLASSIFY, files=[part(huge), part(b"", "empty.jpg")])
    assert response.status_code == 422
    document = response.json()
    assert document["error"] == "ImageTooLargeError"
    assert document["results"] == []
    assert [error["error"] for error in document["errors"]] == [
        "ImageTooLargeError", "NotAnImageError",
    ]  # fmt: skip


def test_file_name_with_a_lone_surrogate_is_accepted(api: TestClient) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="+2AA-.jpg"\r\n\r\nx\r\n'
        b"--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x; charset=utf-7"}
    assert api.post(CLASSIFY, content=body, headers=headers).status_code == 422


def test_request_without_a_photo_is_rejected(api: TestClient) -> None:
    assert api.post(CLASSIFY).json()["message"] == "file: Field required. See /api/docs."
    assert api.post(CLASSIFY, content=b"x").status_code == 422
    broken = api.post(
        CLASSIFY, content=b"x", headers={"Content-Type": "multipart/form-data; boundary=y"}
    )
    assert broken.status_code == 400


def test_too_many_photos_in_one_request_are_rejected(
    open_api: OpenApi, photos: dict[str, bytes]
) -> None:
    api = open_api(max_photos=2)
    assert api.post(CLASSIFY, files=[part(photos["cat"])] * 2).status_code == 200
    response = api.post(CLASSIFY, files=[part(photos["cat"])] * 3)
    assert (response.status_code, response.json()["error"]) == (422, "TooManyFiles")


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_that_is_too_large_is_rejected(is_announced: bool, open_api: OpenApi) -> None:
    api = open_api(max_body_bytes=10_000)

    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(1000)

    content = bytes(100_000) if is_announced else body()
    response = api.post(
        CLASSIFY, content=content, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert response.status_code == 413
    assert response.json()["error"] == "ContentTooLarge"
    assert api.post(CLASSIFY, files=[part(b"small")]).status_code == 422  # still works


def asgi(
    api: TestClient,
    messages: list[dict],
    content_type: str = "multipart/form-data; boundary=x",
    *,
    stops_receiving: bool = False,
    **headers: str,
) -> dict:
    """Sends a request as ASGI messages, to control its chunks and their timing."""
    response: dict = {"body": b""}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "path": "/v1/classify", "raw_path": b"/v1/classify", "root_path": "", "scheme": "http",
        "query_string": b"model=mini_vgg", "server": ("test", 80), "client": ("test", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    scope["headers"].append((b"content-type", content_type.encode()))
    remaining = iter(messages)

    async def receive() -> dict:
        message = next(remaining, None)
        if message is None:
            await asyncio.sleep(3600)
        return message

    async def send(message: dict) -> None:
        if message["type"] == "http.response.start":
            response["status"] = message["status"]
        elif stops_receiving:
            await asyncio.sleep(3600)
        response["body"] += message.get("body", b"")

    with ThreadPoolExecutor(1) as executor:  # Playwright keeps an event loop running in this thread
        executor.submit(asyncio.run, api.app(scope, receive, send)).result(60)
    return response


def test_a_body_that_never_ends_times_out(open_api: OpenApi) -> None:
    api = open_api(body_timeout_seconds=0.2)
    chunk = {"type": "http.request", "body": b"--x\r\n", "more_body": True}
    response = asgi(api, [chunk])
    assert response["status"] == 408
    assert b"did not arrive within" in response["body"]


def test_a_client_that_stops_receiving_does_not_block_others(
    open_api: OpenApi, photos: dict[str, bytes]
) -> None:
    """Its photos are released after the timeout."""
    api = open_api(send_timeout_seconds=0.1, max_total_body_bytes=len(photos["cat"]) + 1000)
    body, content_type = encode_multipart_formdata([("file", ("cat.jpg", photos["cat"]))])
    for _ in range(2):
        response = asgi(
            api,
            [{"type": "http.request", "body": body}],
            content_type=content_type,
            stops_receiving=True,
        )
        assert response["status"] == 200
        assert response["body"] == b""
    assert api.post(CLASSIFY, files=[part(photos["cat"])]).status_code == 200


def test_a_client_that_disconnects_does_not_stop_the_server(api: TestClient) -> None:
    chunk = {"type": "http.request", "body": b"--x\r\n", "more_body": True}
    asgi(api, [chunk, {"type": "http.disconnect"}])
    assert api.get("/healthz").status_code == 200


def test_total_size_of_all_bodies_is_limited(open_api: OpenApi, photos: dict[str, bytes]) -> None:
    """Each request frees its share when it ends."""
    cat = part(photos["cat"])
    api = open_api(max_total_body_bytes=len(photos["cat"]) // 2)
    for _ in range(2):
        response = api.post(CLASSIFY, files=[cat])
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "1"
    api = open_api(max_total_body_bytes=2 * len(photos["cat"]))
    for _ in range(5):
        assert api.post(CLASSIFY, files=[cat]).status_code == 200


def test_a_full_queue_returns_busy_and_retry_after(
    api: TestClient, photos: dict[str, bytes]
) -> None:
    api.service._batcher._max_waiting = 1
    resume = threading.Event()
    with api.service.store.use(MODELS["mini_vgg"]) as model:
        logits = model.engine.logits

        def slow(batch: object) -> object:
            resume.wait(60)
            return logits(batch)

        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(8) as clients:
            patch.setattr(model.engine, "logits", slow)
            send = lambda: api.post(CLASSIFY, files=[part(photos["cat"])])  # noqa: E731
            requests: list[Future] = [clients.submit(send) for _ in range(8)]
            for _ in range(600):
                # One request is in progress, one waits.
                if sum(request.done() for request in requests) == 6:
                    break
                threading.Event().wait(0.1)
            resume.set()
            responses = [request.result(60) for request in requests]
    statuses = sorted(response.status_code for response in responses)
    assert statuses == [200, 200] + [429] * 6
    busy = next(response for response in responses if response.status_code == 429)
    assert busy.json()["error"] == "BusyError"
    assert int(busy.headers["Retry-After"]) >= 1
    assert api.post(CLASSIFY, files=[part(photos["cat"])]).status_code == 200


def test_too_many_waiting_comparisons_are_rejected(
    open_api: OpenApi, photos: dict[str, bytes]
) -> None:
    api = open_api(max_waiting_comparisons=0)
    api.service._comparisons = 1
    response = api.post("/v1/compare", files=[part(photos["cat"])])
    assert (response.status_code, response.headers["Retry-After"]) == (429, "5")


KEY = "a-key-that-is-hard-to-guess"


@pytest.mark.parametrize(
    ("path", "header", "status"),
    [
        ("/v1/models", f"Bearer {KEY}", 200),
        ("/v1/models", "", 401),
        ("/v1/models", KEY, 401),
        ("/v1/models", f"Bearer {KEY}x", 401),
        ("/v1/models", "Bearer é", 401),
        ("/metrics", "", 401),
        ("/healthz", "", 200),
        ("/readyz", "", 200),
        ("/docs", "", 200),
        ("/openapi.json", "", 200),
        ("/static-offline-docs/swagger-ui.css", "", 200),
        ("/docs/../v1/models", "", 401),
    ],
)
def test_api_key_is_required_except_for_public_paths(
    path: str, header: str, status: int, open_api: OpenApi
) -> None:
    headers = {"Authorization": header.encode()} if header else {}
    response = open_api(key=KEY).get(path, headers=headers)
    assert response.status_code == status
    assert (response.headers.get("www-authenticate") == "Bearer") is (status == 401)


def test_a_request_without_the_key_is_rejected_before_its_body_is_read(open_api: OpenApi) -> None:
    assert asgi(open_api(key=KEY), [])["status"] == 401


@pytest.mark.parametrize("origins", [(), ("https://example.org",)])
def test_cross_origin_requests_require_a_configured_origin(
    origins: tuple[str, ...], open_api: OpenApi
) -> None:
    api = open_api(origins=origins)
    for origin in ("https://example.org", "https://evil.example"):
        response = api.get("/healthz", headers={"Origin": origin})
        allowed = response.headers.get("access-control-allow-origin")
        assert allowed == (origin if origin in origins else None)


def test_a_model_being_downloaded_returns_retry_after(
    open_api: OpenApi, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = open_api()
    monkeypatch.setattr(api.service._downloads, "get", lambda _: Download(Status.RUNNING))
    response = api.post("/v1/classify", files=[part(photos["cat"])])
    assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
    assert "VGG16 (553 MB) is being downloaded" in response.json()["message"]


def test_no_request_starts_a_download(
    open_api: OpenApi, photos: dict[str, bytes], tmp_path: Path
) -> None:
    api = open_api()
    api.service.settings = Settings(cache_dir=tmp_path, offline=False)
    response = api.post("/v1/classify?model=resnet50", files=[part(photos["cat"])])
    assert response.status_code == 404
    assert "weights download resnet50" in response.json()["message"]
    assert api.service._downloads.get(MODELS["resnet50"]) is None


def test_error_messages_do_not_reveal_folders_of_the_server(
    open_api: OpenApi, photos: dict[str, bytes], tmp_path: Path
) -> None:
    settings = Settings(cache_dir=tmp_path, offline=True)
    (tmp_path / MODELS["vgg16"].weights.name).write_bytes(b"damaged")
    store = ModelStore(settings)
    api = open_api()
    api.service.settings, api.service.store = settings, store
    api.service._batcher = MicroBatcher(store)
    single = api.post("/v1/classify", files=[part(photos["cat"])])
    assert single.status_code == 503
    several = api.post("/v1/compare?models=vgg16", files=[part(photos["cat"])]).json()
    for message in (single.json()["message"], several["errors"][0]["message"]):
        assert str(tmp_path) not in message
        assert "The file is damaged" in message


def test_uploads_stay_in_memory(
    api: TestClient, encode: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A photo of four megabytes is classified although no temporary file can be created."""
    noise = Image.effect_noise((1300, 1000), 200).convert("RGB")
    photo = encode(noise, "BMP")
    assert len(photo) > 3 * 2**20
    monkeypatch.setattr("tempfile.tempdir", "/does/not/exist")
    assert api.post(CLASSIFY, files=[part(photo)]).status_code == 200


def test_photos_beyond_the_waiting_limit_are_rejected(
    open_api: OpenApi, photos: dict[str, bytes]
) -> None:
    """They are rejected before they are decoded."""
    api = open_api(max_waiting_photos=2)
    assert api.post(CLASSIFY, files=[part(photos["cat"])] * 2).status_code == 200
    response = api.post(CLASSIFY, files=[part(photos["cat"])] * 3)
    assert (response.status_code, response.json()["error"]) == (429, "BusyError")
    assert api.post(CLASSIFY, files=[part(photos["cat"])] * 2).status_code == 200


def test_settings_are_read_from_the_environment() -> None:
    assert ApiSettings.from_environment({}) == ApiSettings()
    settings = ApiSettings.from_environment(
        {"VGG_DEMO_API_KEY": KEY, "VGG_DEMO_API_ORIGINS": "https://a.org, http://localhost:3000"}
    )
    assert (settings.key, settings.origins) == (KEY, ("https://a.org", "http://localhost:3000"))


def test_settings_from_the_environment_describe_themselves() -> None:
    described = [field.metadata for field in fields(ApiSettings) if field.metadata]
    variables = [metadata["variable"] for metadata in described]
    assert variables == ["VGG_DEMO_API_KEY", "VGG_DEMO_API_ORIGINS"]
    assert all(metadata["help"].endswith(".") and metadata["default"] for metadata in described)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("KEY", "short", "has 5 characters; it must have at least 16"),
        ("KEY", "é" * 20, "printable ASCII"),
        ("ORIGINS", "*", r"'\*'; an origin looks like"),
        ("ORIGINS", "https://a.org/path", "without a path"),
    ],
)
def test_invalid_setting_is_rejected(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        ApiSettings.from_environment({f"VGG_DEMO_API_{name}": value})
