"""The API of a running server, called by other programs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import which

import pytest
import requests

from tests.support.app_server import ROOT, running_app
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec
from vgg_demo.ui.components.code_snippets import (
    Request,
    batch_request,
    classify_request,
    compare_request,
)

EXAMPLES = ROOT / "vgg_demo" / "data" / "examples"
MINI_VGG = get_spec("mini_vgg")
KEY = "a-key-that-is-hard-to-guess"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_app(tmp_path_factory) as url:
        yield url


def classify(server: str, name: str, query: str = "model=mini_vgg") -> requests.Response:
    with (EXAMPLES / name).open("rb") as photo:
        return requests.post(f"{server}/api/v1/classify?{query}", files={"file": photo}, timeout=60)


def test_one_server_serves_the_page_and_the_api(server: str) -> None:
    assert "<title>" in requests.get(server, timeout=60).text
    assert classify(server, "cat.jpg").json()["results"][0]["predictions"][0]["label"] == "cat"
    assert requests.get(f"{server}/api/readyz", timeout=60).json() == {"status": "ready"}
    metrics = requests.get(f"{server}/api/metrics", timeout=60).text
    assert 'vgg_demo_loaded_model_bytes{model="mini_vgg"}' in metrics


def test_unknown_api_path_is_a_json_error(server: str) -> None:
    response = requests.get(f"{server}/api/nothing", timeout=60)
    assert (response.status_code, response.json()["error"]) == (404, "InvalidRequest")


def test_concurrent_clients_get_their_own_predictions(server: str) -> None:
    names = ["cat", "dog", "parrot", "moose"]
    labels = ["cat", "dog", "bird", "deer"]

    def is_correct(number: int) -> bool:
        response = classify(server, f"{names[number % 4]}.jpg")
        (result,) = response.json()["results"]
        return result["predictions"][0]["label"] == labels[number % 4]

    with ThreadPoolExecutor(8) as clients:
        assert all(clients.map(is_correct, range(80)))


def test_a_body_that_is_too_large_is_not_read_completely(server: str) -> None:
    """The server rejects a body of half a gigabyte before it has arrived."""
    sent_mebibytes = [0]

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(500):
            sent_mebibytes[0] += 1
            yield bytes(2**20)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        url = f"{server}/api/v1/classify"
        assert requests.post(url, data=body(), headers=headers, timeout=60).status_code == 413
    except requests.ConnectionError:  # the server closed the connection early
        pass
    assert sent_mebibytes[0] < 400
    assert requests.get(f"{server}/api/healthz", timeout=60).ok


def test_api_key_from_streamlit_secrets_is_required(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Streamlit Community Cloud sets keys this way; the API must require the key from the start."""
    home = tmp_path_factory.mktemp("home")
    (home / ".streamlit").mkdir()
    (home / ".streamlit" / "secrets.toml").write_text(f'VGG_DEMO_API_KEY = "{KEY}"\n')
    with running_app(tmp_path_factory, HOME=str(home), USERPROFILE=str(home)) as url:
        assert requests.get(f"{url}/api/v1/models", timeout=60).status_code == 401


REQUESTS = {
    "classify": classify_request("it's a cat, Señor; 1.jpg", MINI_VGG, Resize.PAD, 3),
    "compare": compare_request("cat.jpg", [MINI_VGG], Resize.CROP, 2),
    "batch": batch_request([MINI_VGG], Resize.CROP, 5),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Returns a folder with the photos that the requests use."""
    (tmp_path / "photos").mkdir()
    for name in ("it's a cat, Señor; 1.jpg", "cat.jpg", "1.jpg", "2.jpg", "photos/1.jpg"):
        (tmp_path / name).write_bytes((EXAMPLES / "cat.jpg").read_bytes())
    return tmp_path


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("client", ["curl", "python", "command"])
def test_code_shown_on_the_page_runs(
    client: str, request_: Request, server: str, folder: Path
) -> None:
    """Runs the code of the popover “Code” unchanged."""
    if client == "curl":
        if which("curl") is None:
            pytest.skip("needs curl")
        command = ["sh", "-c", request_.as_curl(server, requires_key=False)]
    elif client == "python":
        command = [sys.executable, "-c", request_.as_python(server, requires_key=False)]
    else:
        module = f"PYTHONPATH={ROOT} {sys.executable} -m vgg_demo"
        command = ["sh", "-c", request_.as_command().replace("vgg-demo", module, 1)]
    process = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert process.returncode == 0, process.stderr
    output = process.stdout
    if "results.csv" in request_.command and client == "command":
        output = (folder / "results.csv").read_text()
    assert "n02121620" in output
    if client == "curl":
        assert len(json.loads(output)[request_.result]) == len(request_.files)


def test_api_key_protects_the_api_but_not_the_page(
    tmp_path_factory: pytest.TempPathFactory, folder: Path
) -> None:
    with running_app(tmp_path_factory, VGG_DEMO_API_KEY=KEY) as url:
        assert classify(url, "cat.jpg").status_code == 401
        assert "<title>" in requests.get(url, timeout=60).text
        code = REQUESTS["compare"].as_python(url, requires_key=True)
        process = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True,
            env={"VGG_DEMO_API_KEY": KEY}, check=False, timeout=120,
        )  # fmt: skip
        assert "n02121620" in process.stdout, process.stderr
        for path in ("/api/v1/models", "/api//v1/models", "/api/docs/../v1/models"):
            session = requests.Session()
            prepared = requests.Request("GET", url).prepare()
            prepared.url = url + path  # not normalized
            assert session.send(prepared, timeout=60).status_code in (400, 401, 404)
