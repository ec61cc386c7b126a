"""Soak test of the API: thousands of requests, correct results, constant memory.

    python -m benchmarks.api_soak [MODEL] [REQUESTS]

Starts the app as a user does and sends photos from eight clients on the same machine. Prints the
table of ``benchmarks/README.md``.
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
class Measurements:
    """Measurements of all clients."""

    seconds: list[float] = field(default_factory=list)
    rejected: int = 0
    wrong: int = 0
    megabytes: list[tuple[int, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True)
class Soak:
    """A server, and the requests to send."""

    url: str
    process: psutil.Process
    model: str
    count: int
    photos: Mapping[str, bytes]
    measurements: Measurements = field(default_factory=Measurements)

    def classify(self, name: str, session: requests.Session) -> dict:
        """Sends a photo, and repeats the request while the server is too busy."""
        while True:
            response = session.post(
                f"{self.url}/v1/classify", params={"model": self.model}, timeout=120,
                files={"file": (f"{name}.jpg", self.photos[name])},
            )  # fmt: skip
            if response.status_code != 429:
                response.raise_for_status()
                return response.json()["results"][0]
            with self.measurements.lock:
                self.measurements.rejected += 1
            time.sleep(float(response.headers["Retry-After"]))  # like a well-behaved client

    def run_client(self, number: int, expected: Mapping[str, str]) -> None:
        """Sends the requests of one client and records the results."""
        session = requests.Session()
        for turn in range(number, self.count, CLIENTS):
            name = NAMES[turn % len(NAMES)]
            started_at = time.perf_counter()
            result = self.classify(name, session)
            seconds = time.perf_counter() - started_at
            actual = (result["file"], result["predictions"][0]["wnid"])
            self.record(seconds, is_correct=actual == (f"{name}.jpg", expected[name]))

    def record(self, seconds: float, *, is_correct: bool) -> None:
        measurements = self.measurements
        with measurements.lock:
            measurements.seconds.append(seconds)
            measurements.wrong += not is_correct
            done = len(measurements.seconds)
            if done % (self.count // 8) == 0:
                measurements.megabytes.append((done, self.process.memory_info().rss / 1e6))


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
        time.sleep(0.25)  # the server cannot notify its parent process
    raise RuntimeError("the server did not start")


def main(model: str = "mini_vgg", count: str = "2000") -> None:
    folder = files("vgg_demo").joinpath("data", "examples")
    photos = {name: folder.joinpath(f"{name}.jpg").read_bytes() for name in NAMES}
    process, url = start_server()
    soak = Soak(url, psutil.Process(process.pid), model, int(count), photos)
    try:
        session = requests.Session()
        expected = {name: soak.classify(name, session)["predictions"][0]["wnid"] for name in NAMES}
        started_at = time.perf_counter()
        for name in NAMES * 5:
            soak.classify(name, session)
        single_seconds = (time.perf_counter() - started_at) / (5 * len(NAMES))
        started_at = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(partial(soak.run_client, expected=expected), range(CLIENTS)))
        seconds = time.perf_counter() - started_at
    finally:
        process.terminate()
        process.wait(30)
    print_table(soak, seconds, single_seconds)


def print_table(soak: Soak, seconds: float, single_seconds: float) -> None:
    measurements = soak.measurements
    latencies = 1000 * np.percentile(measurements.seconds, [50, 95, 99])
    memory = ", ".join(f"{size:.0f} after {done}" for done, size in measurements.megabytes)
    print(f"| {soak.count} requests to {soak.model} from {CLIENTS} clients | |")
    print("|---|---|")
    print(f"| completed / wrong | {len(measurements.seconds)} / {measurements.wrong} |")
    print(f"| rejected as too busy (429) | {measurements.rejected} |")
    print(f"| requests per second | {len(measurements.seconds) / seconds:.1f} |")
    print(f"| requests per second, one client | {1 / single_seconds:.1f} |")
    print(f"| latency (ms), median / 95% / 99% | {' / '.join(f'{x:.0f}' for x in latencies)} |")
    print(f"| server memory (MB) | {memory} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
