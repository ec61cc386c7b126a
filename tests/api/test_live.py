"""The API of the very server that shows the page, as other programs ask it."""

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
KEY = "a-key-that-nobody-guesses"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_app(tmp_path_factory) as url:
        yield url


def send(server: str, name: str, query: str = "model=mini_vgg") -> requests.Response:
    with (EXAMPLES / name).open("rb") as photo:
        return requests.post(f"{server}/api/v1/classify?{query}", files={"file": photo}, timeout=60)


def test_page_and_api_are_one_server(server: str) -> None:
    assert "<title>" in requests.get(server, timeout=60).text
    assert send(server, "cat.jpg").json()["results"][0]["predictions"][0]["label"] == "cat"
    assert requests.get(f"{server}/api/readyz", timeout=60).json() == {"status": "ready"}
    metrics = requests.get(f"{server}/api/metrics", timeout=60).text
    assert 'vgg_demo_loaded_model_bytes{model="mini_vgg"}' in metrics


def test_what_is_not_there_is_not_the_page(server: str) -> None:
    response = requests.get(f"{server}/api/nothing", timeout=60)
    assert (response.status_code, response.json()["error"]) == (404, "InvalidRequest")


def test_many_clients_at_once(server: str) -> None:
    names = ["cat", "dog", "parrot", "moose"]
    labels = ["cat", "dog", "bird", "deer"]

    def ask(number: int) -> bool:
        response = send(server, f"{names[number % 4]}.jpg")
        (result,) = response.json()["results"]
        return result["predictions"][0]["label"] == labels[number % 4]

    with ThreadPoolExecutor(8) as clients:
        assert all(clients.map(ask, range(80)))


def test_a_large_body_is_not_read_to_its_end(server: str) -> None:
    """The server does not wait for the rest of half a gigabyte."""
    sent = [0]

    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(500):
            sent[0] += 1
            yield bytes(2**20)

    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    try:
        url = f"{server}/api/v1/classify"
        assert requests.post(url, data=body(), headers=headers, timeout=60).status_code == 413
    except requests.ConnectionError:  # it has closed the door before all was sent
        pass
    assert sent[0] < 400
    assert requests.get(f"{server}/api/healthz", timeout=60).ok


def test_a_key_among_streamlits_secrets(tmp_path_factory: pytest.TempPathFactory) -> None:
    """As Community Cloud sets it: the API must not be open meanwhile."""
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
    """Where the photos of the requests are."""
    (tmp_path / "photos").mkdir()
    for name in ("it's a cat, Señor; 1.jpg", "cat.jpg", "1.jpg", "2.jpg", "photos/1.jpg"):
        (tmp_path / name).write_bytes((EXAMPLES / "cat.jpg").read_bytes())
    return tmp_path


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("way", ["curl", "python", "command"])
def test_what_the_page_shows_works(way: str, request_: Request, server: str, folder: Path) -> None:
    """The very texts of “From code” are run."""
    if way == "curl":
        if which("curl") is None:
            pytest.skip("needs curl")
        command = ["sh", "-c", request_.as_curl(server, wants_key=False)]
    elif way == "python":
        command = [sys.executable, "-c", request_.as_python(server, wants_key=False)]
    else:
        text = request_.as_command().replace("python", f"PYTHONPATH={ROOT} {sys.executable}", 1)
        command = ["sh", "-c", text]
    process = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )
    assert process.returncode == 0, process.stderr
    answer = process.stdout
    if "results.csv" in request_.command and way == "command":
        answer = (folder / "results.csv").read_text()
    assert "n02121620" in answer
    if way == "curl":
        assert len(json.loads(answer)[request_.result]) == len(request_.files)


def test_a_server_with_a_key(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> None:
    with running_app(tmp_path_factory, VGG_DEMO_API_KEY=KEY) as url:
        assert send(url, "cat.jpg").status_code == 401
        assert "<title>" in requests.get(url, timeout=60).text
        program = REQUESTS["compare"].as_python(url, wants_key=True)
        process = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True,
            env={"VGG_DEMO_API_KEY": KEY}, check=False, timeout=120,
        )  # fmt: skip
        assert "n02121620" in process.stdout, process.stderr
        for path in ("/api/v1/models", "/api//v1/models", "/api/docs/../v1/models"):
            session = requests.Session()
            prepared = requests.Request("GET", url).prepare()
            prepared.url = url + path  # as it is
            assert session.send(prepared, timeout=60).status_code in (400, 401, 404)
