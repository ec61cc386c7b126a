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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.resources import files

import numpy as np
import psutil
import requests

CLIENTS = 8
NAMES = ("cat", "dog", "parrot", "moose", "coffee", "rocket")


@dataclass
class Tally:
    """What the clients have seen so far."""

    seconds: list[float] = field(default_factory=list)
    busy: int = 0
    wrong: int = 0
    megabytes: list[tuple[int, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


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
        time.sleep(0.25)
    raise RuntimeError("the server did not start")


def main(model: str = "mini_vgg", count: str = "2000") -> None:
    folder = files("vgg_demo").joinpath("data", "examples")
    photos = {name: folder.joinpath(f"{name}.jpg").read_bytes() for name in NAMES}
    process, url = start_server()
    server = psutil.Process(process.pid)
    tally = Tally()

    def ask(name: str, session: requests.Session) -> dict:
        while True:
            response = session.post(
                f"{url}/v1/classify", params={"model": model}, timeout=120,
                files={"file": (f"{name}.jpg", photos[name])},
            )  # fmt: skip
            if response.status_code != 429:
                response.raise_for_status()
                return response.json()["results"][0]
            with tally.lock:
                tally.busy += 1
            time.sleep(float(response.headers["Retry-After"]))

    def client(number: int) -> None:
        session = requests.Session()
        for turn in range(number, int(count), CLIENTS):
            name = NAMES[turn % len(NAMES)]
            started = time.perf_counter()
            answer = ask(name, session)
            seconds = time.perf_counter() - started
            is_right = (
                answer["file"] == f"{name}.jpg"
                and answer["predictions"][0]["wnid"] == expected[name]
            )
            with tally.lock:
                tally.seconds.append(seconds)
                tally.wrong += not is_right
                if len(tally.seconds) % (int(count) // 8) == 0:
                    tally.megabytes.append((len(tally.seconds), server.memory_info().rss / 1e6))

    try:
        alone = requests.Session()
        expected = {name: ask(name, alone)["predictions"][0]["wnid"] for name in NAMES}
        one_by_one = time.perf_counter()
        for name in NAMES * 5:
            ask(name, alone)
        one_by_one = (time.perf_counter() - one_by_one) / (5 * len(NAMES))
        started = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(client, range(CLIENTS)))
        seconds = time.perf_counter() - started
    finally:
        process.terminate()
        process.wait(30)
    spread = 1000 * np.percentile(tally.seconds, [50, 95, 99])
    print(f"| {count} requests to {model} from {CLIENTS} clients | |")
    print("|---|---|")
    print(f"| answered, of them wrong | {len(tally.seconds)}, {tally.wrong} |")
    print(f"| told to come later (429) | {tally.busy} |")
    print(f"| requests a second | {len(tally.seconds) / seconds:.1f} |")
    print(f"| the same from one client | {1 / one_by_one:.1f} |")
    print(f"| milliseconds, median / 95 % / 99 % | {' / '.join(f'{x:.0f}' for x in spread)} |")
    memory = ", ".join(f"{size:.0f} after {done}" for done, size in tally.megabytes)
    print(f"| memory of the server, MB | {memory} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
