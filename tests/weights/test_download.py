"""Weight files: downloaded from a real server on this machine, as good or bad as may be."""

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
ANOTHER_PROCESS = """
import dataclasses, sys
from pathlib import Path
from vgg_demo.errors import VggDemoError
from vgg_demo.models.registry import WeightFile, get_spec
from vgg_demo.settings import Settings
from vgg_demo.weights.download import ensure_weights

url, digest, size_bytes, cache_dir = sys.argv[1:]
weights = WeightFile("vgg16.h5", url, digest, int(size_bytes))
spec = dataclasses.replace(get_spec("vgg16"), weights=weights)
settings = Settings(cache_dir=Path(cache_dir), stall_seconds=60)

def show(progress):
    if progress.fraction == 0.5:
        print("half way", flush=True)

print("asking", flush=True)
try:
    ensure_weights(spec, settings, show)
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
    return Settings(cache_dir=tmp_path / "cache", answer_seconds=1.0, stall_seconds=0.5)


def spec_for(server: Server, path: str) -> ModelSpec:
    """Returns VGG16's spec with its file on the local server."""
    weights = WeightFile(
        name="vgg16.h5",
        url=server.url(path),
        hash=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
        size_bytes=len(CONTENT),
    )
    return dataclasses.replace(get_spec("vgg16"), weights=weights)


def left_behind(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.cache_dir.iterdir())


def another_process(spec: ModelSpec, cache_dir: Path, *prefix: str) -> subprocess.Popen[str]:
    """Lets another process ask for weights; it says "asking" first, and when it is "half way"."""
    weights = spec.weights
    arguments = (weights.url, weights.hash, str(weights.size_bytes), str(cache_dir))
    return subprocess.Popen(
        [*prefix, sys.executable, "-c", ANOTHER_PROCESS, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("path", ["whole", "unannounced", "chunked"])
def test_whole(server: Server, settings: Settings, path: str) -> None:
    seen: list[Progress] = []
    spec = spec_for(server, path)
    path = ensure_weights(spec, settings, seen.append)
    assert path.read_bytes() == CONTENT
    assert left_behind(settings) == ["vgg16.h5"]
    assert seen[-1].received_bytes == seen[-1].total_bytes == len(CONTENT)
    assert [p.fraction for p in seen] == sorted(p.fraction for p in seen)
    assert inspect_weights(path, spec).verified


def test_a_file_of_which_no_hash_is_published(server: Server, settings: Settings) -> None:
    """MobileNet and MobileNetV2: downloaded, used, and never called verified."""
    spec = spec_for(server, "whole")
    spec = dataclasses.replace(spec, weights=dataclasses.replace(spec.weights, hash=""))
    path = ensure_weights(spec, settings)
    assert path.read_bytes() == CONTENT
    assert not inspect_weights(path, spec).verified


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("login", "begins with b'<!DOCTYPE html><titl'.* log-in page"),
        ("short", "1,500,000 bytes, and"),
    ],
)
def test_without_a_hash_not_everything_is_taken(
    server: Server, settings: Settings, path: str, words: str
) -> None:
    spec = spec_for(server, path)
    spec = dataclasses.replace(spec, weights=dataclasses.replace(spec.weights, hash=""))
    with pytest.raises(WeightsDownloadError, match=words):
        ensure_weights(spec, settings)
    assert left_behind(settings) == []


def test_second_time_nothing_is_downloaded(server: Server, settings: Settings) -> None:
    for _ in range(3):
        ensure_weights(spec_for(server, "whole"), settings)
    assert server.bodies_sent == 1


def test_asked_for_by_many_at_once_it_is_downloaded_once(
    server: Server, settings: Settings
) -> None:
    spec = spec_for(server, "slow")
    patient = dataclasses.replace(settings, stall_seconds=60)
    first = threading.Thread(target=ensure_weights, args=(spec, patient))
    first.start()
    assert server.half_sent.wait(20)
    others = [threading.Thread(target=ensure_weights, args=(spec, patient)) for _ in range(5)]
    for thread in others:
        thread.start()
    server.resume.set()
    for thread in [first, *others]:
        thread.join(20)
    assert server.bodies_sent == 1
    assert find_weights(spec, settings).read_bytes() == CONTENT
    assert left_behind(settings) == ["vgg16.h5"]


def test_asked_for_by_two_processes_at_once_it_is_downloaded_once(
    server: Server, settings: Settings
) -> None:
    spec = spec_for(server, "slow")
    first = another_process(spec, settings.cache_dir)
    assert server.half_sent.wait(20)
    second = another_process(spec, settings.cache_dir)
    assert second.stdout.readline() == "asking\n"
    server.resume.set()
    assert first.communicate(timeout=30)[0] == "asking\nhalf way\n['vgg16.h5']\n"
    # It may look around while the first has the file but has not put the lock away yet.
    assert "vgg16.h5" in second.communicate(timeout=30)[0]
    assert server.bodies_sent == 1
    assert left_behind(settings) == ["vgg16.h5"]


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
def test_what_a_killed_process_left_is_cleared_away(server: Server, settings: Settings) -> None:
    killed = another_process(spec_for(server, "slow"), settings.cache_dir)
    assert [killed.stdout.readline() for _ in range(2)] == ["asking\n", "half way\n"]
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert left_behind(settings) == ["vgg16.h5.lock", "vgg16.h5.vgg-demo-part"]
    ensure_weights(spec_for(server, "whole"), settings)
    assert left_behind(settings) == ["vgg16.h5"]


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("wrong", "other bytes than the published"),
        ("cut", "cut off"),
        ("missing", "404"),
        ("stalls", "stood still"),
        ("trickle", "stood still, or came at less than 10 kB/s"),
        ("silent", "no answer within 1 seconds"),
        ("loop", "round in circles"),
        ("huge", "1,000,000,000,000,000 bytes long or more, .* less than 3,750,000"),
        ("endless", "bytes long or more, and the published file less than 3,750,000"),
        ("login", "begins with b'<!DOCTYPE html><titl'"),
    ],
)
def test_failed_downloads_leave_nothing(
    server: Server, settings: Settings, path: str, words: str
) -> None:
    spec = spec_for(server, path)
    with pytest.raises(WeightsDownloadError, match=words) as caught:
        ensure_weights(spec, settings)
    assert spec.weights.url in str(caught.value)
    assert str(settings.cache_dir) in str(caught.value)
    assert left_behind(settings) == []


def test_no_server(server: Server, settings: Settings) -> None:
    spec = spec_for(server, "whole")
    server.server_close()
    with pytest.raises(WeightsDownloadError, match="no connection"):
        ensure_weights(spec, settings)


@pytest.mark.parametrize(("path", "room_kb"), [("whole", 1000), ("unannounced", 2800)])
def test_no_room_on_the_disk(server: Server, tmp_path: Path, path: str, room_kb: int) -> None:
    """On real disks: one that is seen to be too small, one that fills up on the way."""
    mount = f'mount -t tmpfs -o size={room_kb}k none "$0" && exec "$@"'
    small_disk = ("unshare", "--map-root-user", "--mount", "sh", "-c", mount, str(tmp_path))
    try:
        subprocess.run([*small_disk, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a small disk")
    spec = spec_for(server, path)
    smaller = dataclasses.replace(spec.weights, size_bytes=2_600_000)
    process = another_process(
        dataclasses.replace(spec, weights=smaller), tmp_path / "cache", *small_disk
    )
    _, error, files = process.communicate(timeout=30)[0].splitlines()
    assert error.startswith("DiskFullError The weights of VGG16 need 3 MB in ")
    assert "MB are free. Make room" in error
    assert ("[Errno 28]" in error) is (path == "unannounced")
    assert files == "[]"


def test_no_right_to_write(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = Settings(cache_dir=tmp_path / "file" / "models")
    with pytest.raises(WeightsDownloadError, match=r"Cannot write to .* KERAS_HOME"):
        ensure_weights(spec_for(server, "whole"), settings)


def test_offline_never_asks(server: Server, settings: Settings) -> None:
    offline = dataclasses.replace(settings, offline=True)
    with pytest.raises(WeightsMissingError, match="VGG_DEMO_OFFLINE"):
        ensure_weights(spec_for(server, "whole"), offline)
    assert server.bodies_sent == 0


def test_a_cache_that_cannot_be(server: Server) -> None:
    settings = Settings.from_environment({"KERAS_HOME": "/" + 300 * "x"})
    with pytest.raises(WeightsDownloadError, match=r"Cannot write to .* KERAS_HOME"):
        ensure_weights(spec_for(server, "whole"), settings)


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX")
def test_downloaded_files_can_be_read_by_others(server: Server, settings: Settings) -> None:
    path = ensure_weights(spec_for(server, "whole"), settings)
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask
