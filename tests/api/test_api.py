"""What the API answers, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image
from starlette.testclient import TestClient
from urllib3 import encode_multipart_formdata

from tests.api.conftest import Open
from vgg_demo.api import ApiSettings
from vgg_demo.cli import main
from vgg_demo.errors import SettingsError
from vgg_demo.inference.background import Download, Status
from vgg_demo.inference.batching import MicroBatcher
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.registry import MODELS
from vgg_demo.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "vgg_demo" / "data" / "examples"
CLASSIFY = "/v1/classify?model=mini_vgg"


def part(data: bytes, name: str = "photo.jpg") -> tuple[str, tuple[str, bytes]]:
    return "file", (name, data)


def test_the_document_is_the_command_lines(api: TestClient) -> None:
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


def test_how_a_photo_is_made_square(api: TestClient, photos: dict[str, bytes]) -> None:
    response = api.post(f"{CLASSIFY}&resize=pad", files=[part(photos["parrot"])])
    assert response.json()["results"][0]["resize"] == "pad"


def test_a_comparison(api: TestClient, photos: dict[str, bytes]) -> None:
    url = "/v1/compare?models=mini_vgg,vgg16&repeat=2&top=1"
    document = api.post(url, files=[part(photos["cat"])]).json()
    (answer,), (error,) = document["results"], document["errors"]
    assert answer["predictions"][0]["label"] == "cat"
    assert len(answer["runs"]["seconds"]) == 2
    assert (error["model"], error["error"]) == ("vgg16", "WeightsMissingError")
    document = api.post("/v1/compare", files=[part(photos["cat"])]).json()
    assert [answer["model"] for answer in document["results"]] == ["mini_vgg"]  # all that is here


def test_models(api: TestClient, photos: dict[str, bytes]) -> None:
    api.post(CLASSIFY, files=[part(photos["cat"])])
    models = {model["name"]: model for model in api.get("/v1/models").json()["models"]}
    assert list(models) == list(MODELS)
    assert (models["mini_vgg"]["here"], models["mini_vgg"]["loaded"]) == (True, True)
    assert (models["vgg16"]["here"], models["vgg16"]["loaded"]) == (False, False)
    assert "path" not in models["mini_vgg"]  # where things are on the server is its own business


def test_labels(api: TestClient) -> None:
    tabby = api.get("/v1/labels/n02123045").json()
    assert tabby["classes"] == [{"labels": "imagenet", "index": 281, "label": "tabby"}]
    assert [kind["name"] for kind in tabby["kind_of"]][:2] == ["domestic cat", "cat"]
    assert api.get("/v1/labels/n02121620").json()["classes"][0]["labels"] == "cifar10"
    assert api.get("/v1/labels/n99999999").status_code == 404


def test_health(api: TestClient, photos: dict[str, bytes]) -> None:
    assert api.get("/healthz").json() == {"status": "ok"}
    api.post(CLASSIFY, files=[part(photos["cat"])])
    assert api.get("/readyz").json() == {"status": "ready"}


def test_metrics(api: TestClient, photos: dict[str, bytes]) -> None:
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


def test_documentation_needs_no_other_server(api: TestClient) -> None:
    page = api.get("/docs").text
    assert "swagger" in page
    assert "https://" not in page
    assert api.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


@pytest.mark.parametrize(
    ("url", "photo", "status", "error", "words"),
    [
        ("/v1/classify?model=vgg61", "cat", 404, "UnknownModelError", "Did you mean vgg19"),
        ("/v1/classify", "cat", 404, "WeightsMissingError", "VGG16 is not on this server"),
        (CLASSIFY + "&top=0", "cat", 422, "InvalidRequest", "top: Input should be greater"),
        (CLASSIFY + "&resize=x", "cat", 422, "InvalidRequest", "resize: Input should be 'crop'"),
        ("/v1/compare?models=vgg61", "cat", 404, "UnknownModelError", "Did you mean"),
        ("/v1/compare?models=mini_vgg", "bad", 422, "NotAnImageError", "not a picture"),
        ("/v1/compare?repeat=21", "cat", 422, "InvalidRequest", "repeat: Input should be less"),
        ("/v1/compare?models=vgg16,vgg19,xception,resnet50,resnet101,mini_vgg", "cat", 422,
         "TooManyModels", "names 6 models; the limit is 5"),
        ("/v1/nothing", "cat", 404, "InvalidRequest", "Not Found"),
        ("/v1/models", "cat", 405, "InvalidRequest", "Method Not Allowed"),
    ],
)  # fmt: skip
def test_refusals(
    url: str,
    photo: str,
    status: int,
    error: str,
    words: str,
    api: TestClient,
    photos: dict[str, bytes],
) -> None:
    response = api.post(url, files=[part(photos.get(photo, b"no picture"))])
    assert response.status_code == status
    assert response.json()["error"] == error
    assert words in response.json()["message"]


def test_near_names_are_told(api: TestClient, photos: dict[str, bytes]) -> None:
    response = api.post("/v1/classify?model=vgg61", files=[part(photos["cat"])])
    assert response.json()["near"] == ["vgg19", "vgg16"]


def test_photos_that_cannot_be_used(api: TestClient, encode: Callable[..., bytes]) -> None:
    huge = encode(Image.new("1", (8000, 7000)), "PNG")
    response = api.post(CLASSIFY, files=[part(huge), part(b"", "empty.jpg")])
    assert response.status_code == 422
    document = response.json()
    assert document["error"] == "ImageTooLargeError"
    assert document["results"] == []
    assert [error["error"] for error in document["errors"]] == [
        "ImageTooLargeError", "NotAnImageError",
    ]  # fmt: skip


def test_a_name_that_is_no_text(api: TestClient) -> None:
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="+2AA-.jpg"\r\n\r\nx\r\n'
        b"--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x; charset=utf-7"}
    assert api.post(CLASSIFY, content=body, headers=headers).status_code == 422


def test_without_a_photo(api: TestClient) -> None:
    assert api.post(CLASSIFY).json()["message"] == "file: Field required."
    assert api.post(CLASSIFY, content=b"x").status_code == 422
    broken = api.post(
        CLASSIFY, content=b"x", headers={"Content-Type": "multipart/form-data; boundary=y"}
    )
    assert broken.status_code == 400


def test_too_many_photos(open_api: Open, photos: dict[str, bytes]) -> None:
    api = open_api(files=2)
    assert api.post(CLASSIFY, files=[part(photos["cat"])] * 2).status_code == 200
    response = api.post(CLASSIFY, files=[part(photos["cat"])] * 3)
    assert (response.status_code, response.json()["error"]) == (422, "TooManyFiles")


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_body_that_is_too_large(is_announced: bool, open_api: Open) -> None:
    api = open_api(body_bytes=10_000)

    def body() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(1000)

    content = bytes(100_000) if is_announced else body()
    response = api.post(
        CLASSIFY, content=content, headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert response.status_code == 413
    assert response.json()["error"] == "ContentTooLarge"
    assert api.post(CLASSIFY, files=[part(b"small")]).status_code == 422  # and goes on


def asgi(
    api: TestClient,
    messages: list[dict],
    content_type: str = "multipart/form-data; boundary=x",
    *,
    is_deaf: bool = False,
    **headers: str,
) -> dict:
    """Sends a request by hand: how fast, and in which pieces, a client would not let us say."""
    answered: dict = {"body": b""}
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "path": "/v1/classify", "raw_path": b"/v1/classify", "root_path": "", "scheme": "http",
        "query_string": b"model=mini_vgg", "server": ("test", 80), "client": ("test", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    scope["headers"].append((b"content-type", content_type.encode()))
    left = iter(messages)

    async def receive() -> dict:
        message = next(left, None)
        if message is None:
            await asyncio.sleep(3600)
        return message

    async def send(message: dict) -> None:
        if message["type"] == "http.response.start":
            answered["status"] = message["status"]
        elif is_deaf:
            await asyncio.sleep(3600)
        answered["body"] += message.get("body", b"")

    with ThreadPoolExecutor(1) as executor:  # Playwright keeps a loop running in this thread
        executor.submit(asyncio.run, api.app(scope, receive, send)).result(60)
    return answered


def test_a_body_that_never_ends(open_api: Open) -> None:
    api = open_api(body_seconds=0.2)
    piece = {"type": "http.request", "body": b"--x\r\n", "more_body": True}
    answered = asgi(api, [piece])
    assert answered["status"] == 408
    assert b"did not arrive within" in answered["body"]


def test_a_client_that_takes_no_answer(open_api: Open, photos: dict[str, bytes]) -> None:
    """It holds nobody up, and its photos are let go of."""
    api = open_api(answer_seconds=0.1, bodies_bytes=len(photos["cat"]) + 1000)
    body, kind = encode_multipart_formdata([("file", ("cat.jpg", photos["cat"]))])
    for _ in range(2):
        answered = asgi(
            api, [{"type": "http.request", "body": body}], content_type=kind, is_deaf=True
        )
        assert answered["status"] == 200
        assert answered["body"] == b""
    assert api.post(CLASSIFY, files=[part(photos["cat"])]).status_code == 200


def test_a_client_that_goes_away(api: TestClient) -> None:
    piece = {"type": "http.request", "body": b"--x\r\n", "more_body": True}
    asgi(api, [piece, {"type": "http.disconnect"}])
    assert api.get("/healthz").status_code == 200


def test_too_much_at_a_time(open_api: Open, photos: dict[str, bytes]) -> None:
    """All bodies together have a limit too, which is free again afterwards."""
    cat = part(photos["cat"])
    api = open_api(bodies_bytes=len(photos["cat"]) // 2)
    for _ in range(2):
        response = api.post(CLASSIFY, files=[cat])
        assert response.status_code == 429
        assert response.headers["Retry-After"] == "1"
    api = open_api(bodies_bytes=2 * len(photos["cat"]))
    for _ in range(5):
        assert api.post(CLASSIFY, files=[cat]).status_code == 200


def test_a_full_queue(api: TestClient, photos: dict[str, bytes]) -> None:
    api.service._batcher._most_waiting = 1
    held = threading.Event()
    with api.service.store.use(MODELS["mini_vgg"]) as model:
        logits = model.engine.logits

        def slow(batch: object) -> object:
            held.wait(60)
            return logits(batch)

        with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(8) as clients:
            patch.setattr(model.engine, "logits", slow)
            send = lambda: api.post(CLASSIFY, files=[part(photos["cat"])])  # noqa: E731
            sent: list[Future] = [clients.submit(send) for _ in range(8)]
            for _ in range(600):
                if sum(request.done() for request in sent) == 6:  # one is at work, one waits
                    break
                threading.Event().wait(0.1)
            held.set()
            answers = [request.result(60) for request in sent]
    statuses = sorted(answer.status_code for answer in answers)
    assert statuses == [200, 200] + [429] * 6
    busy = next(answer for answer in answers if answer.status_code == 429)
    assert busy.json()["error"] == "BusyError"
    assert int(busy.headers["Retry-After"]) >= 1
    assert api.post(CLASSIFY, files=[part(photos["cat"])]).status_code == 200


def test_too_many_comparisons(open_api: Open, photos: dict[str, bytes]) -> None:
    api = open_api(comparisons=0)
    api.service._comparisons = 1
    response = api.post("/v1/compare", files=[part(photos["cat"])])
    assert (response.status_code, response.headers["Retry-After"]) == (429, "5")


KEY = "a-key-that-nobody-guesses"


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
def test_a_key(path: str, header: str, status: int, open_api: Open) -> None:
    headers = {"Authorization": header.encode()} if header else {}
    response = open_api(key=KEY).get(path, headers=headers)
    assert response.status_code == status
    assert (response.headers.get("www-authenticate") == "Bearer") is (status == 401)


def test_without_the_key_no_body_is_read(open_api: Open) -> None:
    assert asgi(open_api(key=KEY), [])["status"] == 401


@pytest.mark.parametrize("origins", [(), ("https://example.org",)])
def test_other_sites_may_ask_only_if_they_are_named(
    origins: tuple[str, ...], open_api: Open
) -> None:
    api = open_api(origins=origins)
    for origin in ("https://example.org", "https://evil.example"):
        response = api.get("/healthz", headers={"Origin": origin})
        allowed = response.headers.get("access-control-allow-origin")
        assert allowed == (origin if origin in origins else None)


def test_a_model_that_is_on_its_way(
    open_api: Open, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the server itself, or a visitor of the page, has asked for it."""
    api = open_api()
    monkeypatch.setattr(api.service._downloads, "get", lambda _: Download(Status.RUNNING))
    response = api.post("/v1/classify", files=[part(photos["cat"])])
    assert (response.status_code, response.headers["Retry-After"]) == (503, "10")
    assert "VGG16 (553 MB) is being downloaded" in response.json()["message"]


def test_no_request_starts_a_download(
    open_api: Open, photos: dict[str, bytes], tmp_path: Path
) -> None:
    api = open_api()
    api.service.settings = Settings(cache_dir=tmp_path, offline=False)
    response = api.post("/v1/classify?model=resnet50", files=[part(photos["cat"])])
    assert response.status_code == 404
    assert "weights download resnet50" in response.json()["message"]
    assert api.service._downloads.get(MODELS["resnet50"]) is None


def test_where_things_are_on_the_server_is_not_told(
    open_api: Open, photos: dict[str, bytes], tmp_path: Path
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
    """Where no temporary file can be made, a photo of four megabytes is answered."""
    noise = Image.effect_noise((1300, 1000), 200).convert("RGB")
    photo = encode(noise, "BMP")
    assert len(photo) > 3 * 2**20
    monkeypatch.setattr("tempfile.tempdir", "/does/not/exist")
    assert api.post(CLASSIFY, files=[part(photo)]).status_code == 200


def test_more_photos_than_may_wait(open_api: Open, photos: dict[str, bytes]) -> None:
    """They are refused before they are decoded."""
    api = open_api(waiting=2)
    assert api.post(CLASSIFY, files=[part(photos["cat"])] * 2).status_code == 200
    response = api.post(CLASSIFY, files=[part(photos["cat"])] * 3)
    assert (response.status_code, response.json()["error"]) == (429, "BusyError")
    assert api.post(CLASSIFY, files=[part(photos["cat"])] * 2).status_code == 200


def test_settings() -> None:
    assert ApiSettings.from_environment({}) == ApiSettings()
    found = ApiSettings.from_environment(
        {"VGG_DEMO_API_KEY": KEY, "VGG_DEMO_API_ORIGINS": "https://a.org, http://localhost:3000"}
    )
    assert (found.key, found.origins) == (KEY, ("https://a.org", "http://localhost:3000"))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("KEY", "short", "has 5 characters; it needs at least 16"),
        ("KEY", "é" * 20, "printable ASCII"),
        ("ORIGINS", "*", r"'\*'; an origin looks like"),
        ("ORIGINS", "https://a.org/path", "without a path"),
    ],
)
def test_bad_settings(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ApiSettings.from_environment({f"VGG_DEMO_API_{name}": value})
