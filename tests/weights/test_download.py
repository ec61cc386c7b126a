"""Downloads of weight files from a local server, successful and failing."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.weights_server import SIGNATURE, Server, serving
from vgg_demo.errors import WeightsDownloadError, WeightsMissingError
from vgg_demo.models.registry import ModelSpec, WeightFile, get_spec
from vgg_demo.settings import Settings
from vgg_demo.weights.download import Progress, ensure_weights
from vgg_demo.weights.local import find_weights, inspect_weights

CONTENT = SIGNATURE + os.urandom(2_999_992)
ROOT = Path(__file__).parents[2]
DOWNLOAD_SCRIPT = """
import dataclasses, sys
from pathlib import Path
from vgg_demo.errors import VggDemoError
from vgg_demo.models.registry import WeightFile, get_spec
from vgg_demo.settings import Settings
from vgg_demo.weights.download import ensure_weights

url, digest, size_bytes, cache_dir = sys.argv[1:]
weights = WeightFile("vgg16.h5", url, digest, int(size_bytes))
spec = dataclasses.replace(get_spec("vgg16"), weights=weights)
settings = Settings(cache_dir=Path(cache_dir), stall_timeout_seconds=60)

def on_progress(progress):
    if progress.fraction == 0.5:
        print("half done", flush=True)

print("started", flush=True)
try:
    ensure_weights(spec, settings, on_progress)
except VggDemoError as error:
    print(type(error).__name__, error, error.__cause__)
print(sorted(path.name for path in Path(cache_dir).iterdir()))
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(CONTENT) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(
        cache_dir=tmp_path / "cache", response_timeout_seconds=1.0, stall_timeout_seconds=0.5
    )


def spec_for(server: Server, path: str) -> ModelSpec:
    """Returns the spec of VGG16 with its weight file on the local server."""
    weights = WeightFile(
        name="vgg16.h5",
        url=server.url(path),
        hash=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
        size_bytes=len(CONTENT),
    )
    return dataclasses.replace(get_spec("vgg16"), weights=weights)


def cached_files(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.cache_dir.iterdir())


def start_download_process(spec: ModelSpec, cache_dir: Path, *prefix: str) -> subprocess.Popen[str]:
    """Downloads weights in another process, which prints "started" and then "half done"."""
    weights = spec.weights
    arguments = (weights.url, weights.hash, str(weights.size_bytes), str(cache_dir))
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", DOWNLOAD_SCRIPT, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("path", ["whole", "unsized", "chunked"])
def test_file_is_downloaded_and_verified(server: Server, settings: Settings, path: str) -> None:
    progress: list[Progress] = []
    spec = spec_for(server, path)
    installed = ensure_weights(spec, settings, progress.append)
    assert installed.read_bytes() == CONTENT
    assert cached_files(settings) == ["vgg16.h5"]
    assert progress[-1].received_bytes == progress[-1].total_bytes == len(CONTENT)
    assert [p.fraction for p in progress] == sorted(p.fraction for p in progress)
    assert inspect_weights(installed, spec).verified


def test_file_without_a_published_hash_is_unverified(server: Server, settings: Settings) -> None:
    """No hashes are published for MobileNet and MobileNetV2."""
    spec = spec_for(server, "whole")
    spec = dataclasses.replace(spec, weights=dataclasses.replace(spec.weights, hash=""))
    path = ensure_weights(spec, settings)
    assert path.read_bytes() == CONTENT
    assert not inspect_weights(path, spec).verified


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("login", "starts with b'<!DOCTYPE html><titl'.* login page"),
        ("short", "1,500,000 bytes, but its arrays alone are"),
    ],
)
def test_invalid_files_are_rejected_even_without_a_hash(
    server: Server, settings: Settings, path: str, message: str
) -> None:
    spec = spec_for(server, path)
    spec = dataclasses.replace(spec, weights=dataclasses.replace(spec.weights, hash=""))
    with pytest.raises(WeightsDownloadError, match=message):
        ensure_weights(spec, settings)
    assert cached_files(settings) == []


def test_file_is_downloaded_only_once(server: Server, settings: Settings) -> None:
    for _ in range(3):
        ensure_weights(spec_for(server, "whole"), settings)
    assert server.bodies_sent == 1


def test_concurrent_threads_download_a_file_once(server: Server, settings: Settings) -> None:
    spec = spec_for(server, "slow")
    settings_without_stall = dataclasses.replace(settings, stall_timeout_seconds=60)
    first = threading.Thread(target=ensure_weights, args=(spec, settings_without_stall))
    first.start()
    assert server.half_sent.wait(20)
    others = [
        threading.Thread(target=ensure_weights, args=(spec, settings_without_stall))
        for _ in range(5)
    ]
    for thread in others:
        thread.start()
    server.resume.set()
    for thread in [first, *others]:
        thread.join(20)
    assert server.bodies_sent == 1
    assert find_weights(spec, settings).read_bytes() == CONTENT
    assert cached_files(settings) == ["vgg16.h5"]


def test_concurrent_processes_download_a_file_once(server: Server, settings: Settings) -> None:
    spec = spec_for(server, "slow")
    first = start_download_process(spec, settings.cache_dir)
    assert server.half_sent.wait(20)
    second = start_download_process(spec, settings.cache_dir)
    assert second.stdout.readline() == "started\n"
    server.resume.set()
    assert first.communicate(timeout=30)[0] == "started\nhalf done\n['vgg16.h5']\n"
    # The second may list the folder before the first has removed the lock file.
    assert "vgg16.h5" in second.communicate(timeout=30)[0]
    assert server.bodies_sent == 1
    assert cached_files(settings) == ["vgg16.h5"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
def test_files_of_a_killed_process_are_removed(server: Server, settings: Settings) -> None:
    killed = start_download_process(spec_for(server, "slow"), settings.cache_dir)
    assert [killed.stdout.readline() for _ in range(2)] == ["started\n", "half done\n"]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert cached_files(settings) == ["vgg16.h5.lock", "vgg16.h5.vgg-demo-part"]
    ensure_weights(spec_for(server, "whole"), settings)
    assert cached_files(settings) == ["vgg16.h5"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("wrong", "its md5 differs from the published one"),
        ("truncated", "the connection was interrupted"),
        ("missing", "404"),
        ("stalls", "it stalled"),
        ("trickle", "it stalled, or was slower than 10 kB/s"),
        ("silent", "no response within 1 seconds"),
        ("loop", "too many redirects"),
        ("huge", "at least 1,000,000,000,000,000 bytes; .* smaller than 3,750,000"),
        ("endless", "bytes; the published file is smaller than 3,750,000"),
        ("login", "starts with b'<!DOCTYPE html><titl'"),
    ],
)
def test_failed_download_leaves_no_files(
    server: Server, settings: Settings, path: str, message: str
) -> None:
    spec = spec_for(server, path)
    with pytest.raises(WeightsDownloadError, match=message) as caught:
        ensure_weights(spec, settings)
    assert spec.weights.url in str(caught.value)
    assert str(settings.cache_dir) in str(caught.value)
    assert cached_files(settings) == []


def test_unreachable_server_raises_an_error(server: Server, settings: Settings) -> None:
    spec = spec_for(server, "whole")
    server.server_close()
    with pytest.raises(WeightsDownloadError, match="no connection"):
        ensure_weights(spec, settings)


@pytest.mark.parametrize(("path", "size_kb"), [("whole", 1000), ("unsized", 2800)])
def test_full_disk_raises_an_error(server: Server, tmp_path: Path, path: str, size_kb: int) -> None:
    """Mounts small disks: one is too small from the start, one fills up during the download."""
    mount = f'mount -t tmpfs -o size={size_kb}k none "$0" && exec "$@"'
    small_disk = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path))
    try:
        subprocess.run([*small_disk, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs permission to mount a small disk")
    spec = spec_for(server, path)
    smaller = dataclasses.replace(spec.weights, size_bytes=2_600_000)
    process = start_download_process(
        dataclasses.replace(spec, weights=smaller), tmp_path / "cache", *small_disk
    )
    _, error, files = process.communicate(timeout=30)[0].splitlines()
    assert error.startswith("DiskFullError The weights of VGG16 require 3 MB in ")
    assert "MB is free. Free disk space" in error
    assert ("[Errno 28]" in error) is (path == "unsized")
    assert files == "[]"


def test_unwritable_cache_raises_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = Settings(cache_dir=tmp_path / "file" / "models")
    with pytest.raises(WeightsDownloadError, match=r"Cannot write to .* KERAS_HOME"):
        ensure_weights(spec_for(server, "whole"), settings)


def test_offline_mode_sends_no_requests(server: Server, settings: Settings) -> None:
    offline = dataclasses.replace(settings, offline=True)
    with pytest.raises(WeightsMissingError, match="VGG_DEMO_OFFLINE"):
        ensure_weights(spec_for(server, "whole"), offline)
    assert server.bodies_sent == 0


def test_invalid_cache_path_raises_an_error(server: Server) -> None:
    settings = Settings.from_environment({"KERAS_HOME": "/" + 300 * "x"})
    with pytest.raises(WeightsDownloadError, match=r"Cannot write to .* KERAS_HOME"):
        ensure_weights(spec_for(server, "whole"), settings)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
def test_downloaded_files_have_default_permissions(server: Server, settings: Settings) -> None:
    path = ensure_weights(spec_for(server, "whole"), settings)
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
