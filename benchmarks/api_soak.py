"""Thousands of requests to the API: is every one answered, and does memory stay flat?

    python -m benchmarks.api_soak [MODEL] [REQUESTS]

Starts the app as a person does and asks it from eight clients on this machine, photo by photo.
Prints the table of ``benchmarks/README.md``.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files

import numpy as np
import psutil
import requests

CLIENTS = 8
NAMES = ("cat", "dog", "parrot", "moose", "coffee", "rocket")


@dataclass
class Evaluator:
    """What the clients have seen so far."""

    seconds: list[float] = field(default_factory=list)
    busy: int = 0
    wrong: int = 0
    megabytes: list[tuple[int, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Soak:
    """A server, and what it is asked."""

    url: str
    process: psutil.Process
    model: str
    count: int
    photos: Mapping[str, bytes]
    evaluator: Evaluator = field(default_factory=Evaluator)

    def ask(self, name: str, session: requests.Session) -> dict:
        """Sends a photo, again and again as long as the server is too busy."""
        while True:
            response = session.post(
                f"{self.url}/v1/classify", params={"model": self.model}, timeout=120,
                files={"file": (f"{name}.jpg", self.photos[name])},
            )  # fmt: skip
            if response.status_code != 429:
                response.raise_for_status()
                return response.json()["results"][0]
            with self.evaluator.lock:
                self.evaluator.busy += 1
            time.sleep(float(response.headers["Retry-After"]))  # as a good client does

    def be_client(self, number: int, expected: Mapping[str, str]) -> None:
        """Asks one client's share, and notes what comes."""
        session = requests.Session()
        for turn in range(number, self.count, CLIENTS):
            name = NAMES[turn % len(NAMES)]
            started = time.perf_counter()
            answer = self.ask(name, session)
            seconds = time.perf_counter() - started
            wnid = answer["predictions"][0]["wnid"]
            self.note(seconds, is_right=(answer["file"], wnid) == (f"{name}.jpg", expected[name]))

    def note(self, seconds: float, *, is_right: bool) -> None:
        evaluator = self.evaluator
        with evaluator.lock:
            evaluator.seconds.append(seconds)
            evaluator.wrong += not is_right
            done = len(evaluator.seconds)
            if done % (self.count // 8) == 0:
                evaluator.megabytes.append((done, self.process.memory_info().rss / 1e6))


def start_server() -> tuple[subprocess.Popen[bytes], str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py"]
    options = ["--server.headless=true", f"--server.port={port}", "--server.address=127.0.0.1"]
    process = subprocess.Popen(
        command + options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}/api"
    for _ in range(240):
        try:
            if requests.get(f"{url}/readyz", timeout=5).ok:
                return process, url
        except requests.ConnectionError:
            pass
        time.sleep(0.25)  # a server has no way to call back
    raise RuntimeError("the server did not start")


def main(model: str = "mini_vgg", count: str = "2000") -> None:
    folder = files("vgg_demo").joinpath("data", "examples")
    photos = {name: folder.joinpath(f"{name}.jpg").read_bytes() for name in NAMES}
    process, url = start_server()
    soak = Soak(url, psutil.Process(process.pid), model, int(count), photos)
    try:
        alone = requests.Session()
        expected = {name: soak.ask(name, alone)["predictions"][0]["wnid"] for name in NAMES}
        started = time.perf_counter()
        for name in NAMES * 5:
            soak.ask(name, alone)
        alone_seconds = (time.perf_counter() - started) / (5 * len(NAMES))
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(partial(soak.be_client, expected=expected), range(CLIENTS)))
        seconds = time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(30)
    print_table(soak, seconds, alone_seconds)


def print_table(soak: Soak, seconds: float, alone_seconds: float) -> None:
    evaluator = soak.evaluator
    spread = 1000 * np.percentile(evaluator.seconds, [50, 95, 99])
    memory = ", ".join(f"{size:.0f} after {done}" for done, size in evaluator.megabytes)
    print(f"| {soak.count} requests to {soak.model} from {CLIENTS} clients | |")
    print("|---|---|")
    print(f"| answered, of them wrong | {len(evaluator.seconds)}, {evaluator.wrong} |")
    print(f"| told to come later (429) | {evaluator.busy} |")
    print(f"| requests a second | {len(evaluator.seconds) / seconds:.1f} |")
    print(f"| the same from one client | {1 / alone_seconds:.1f} |")
    print(f"| milliseconds, median / 95 % / 99 % | {' / '.join(f'{x:.0f}' for x in spread)} |")
    print(f"| memory of the server, MB | {memory} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
