"""Weight files: found, downloaded, checked – against a real server on this machine."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.weights_server import Server, serving
from vgg_demo.downloads import Downloads, Status
from vgg_demo.errors import DiskFullError, WeightsDownloadError, WeightsMissingError
from vgg_demo.registry import ModelSpec, WeightFile, get_spec
from vgg_demo.settings import Settings
from vgg_demo.weights import (
    Progress,
    check_weights_dir,
    ensure_weights,
    find_weights,
    inspect_weights,
)

CONTENT = os.urandom(3_000_000)


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
        url=f"http://127.0.0.1:{server.server_port}/{path}",
        hash=hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(),
        size_bytes=len(CONTENT),
    )
    return dataclasses.replace(get_spec("vgg16"), weights=weights)


def left_behind(settings: Settings) -> list[str]:
    return [p.name for p in settings.cache_dir.iterdir() if p.suffix != ".lock"]


def test_whole(server: Server, settings: Settings) -> None:
    seen: list[Progress] = []
    spec = spec_for(server, "whole")
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


def test_second_time_nothing_is_downloaded(server: Server, settings: Settings) -> None:
    for _ in range(3):
        ensure_weights(spec_for(server, "whole"), settings)
    assert server.bodies_sent == 1


def test_asked_for_by_many_at_once_it_is_downloaded_once(
    server: Server, settings: Settings
) -> None:
    spec = spec_for(server, "slow")
    patient = dataclasses.replace(settings, stall_seconds=20)
    half_way = threading.Event()
    first = threading.Thread(target=ensure_weights, args=(spec, patient, lambda _: half_way.set()))
    first.start()
    assert half_way.wait(10)
    others = [threading.Thread(target=ensure_weights, args=(spec, patient)) for _ in range(5)]
    for thread in others:
        thread.start()
    server.go_on.set()
    for thread in [first, *others]:
        thread.join(20)
    assert server.bodies_sent == 1
    assert find_weights(spec, settings).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("wrong", "other bytes than the published"),
        ("cut", "cut off"),
        ("missing", "404"),
        ("stalls", "stood still"),
        ("silent", "no answer within 1 seconds"),
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


def test_no_space(server: Server, settings: Settings) -> None:
    with pytest.raises(DiskFullError, match=r"MB are free\. Make room"):
        ensure_weights(spec_for(server, "huge"), settings)
    assert server.bodies_sent == 0


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


def test_named_folder_goes_before_the_cache(server: Server, settings: Settings) -> None:
    mine = settings.cache_dir.parent / "mine"
    for folder in (mine, settings.cache_dir):
        folder.mkdir(parents=True)
        (folder / "vgg16.h5").write_bytes(CONTENT)
    spec = spec_for(server, "whole")
    assert find_weights(spec, settings) == settings.cache_dir / "vgg16.h5"
    named = dataclasses.replace(settings, weights_dir=mine)
    assert find_weights(spec, named) == mine / "vgg16.h5"
    shutil.rmtree(mine)
    assert find_weights(spec, named) == settings.cache_dir / "vgg16.h5"


def test_a_file_put_there_by_hand_is_used_but_unverified(
    server: Server, settings: Settings
) -> None:
    settings.cache_dir.mkdir()
    (settings.cache_dir / "vgg16.h5").write_bytes(b"mine")
    spec = spec_for(server, "whole")
    weights = inspect_weights(ensure_weights(spec, settings), spec)
    assert not weights.verified
    assert weights.sha256 == hashlib.sha256(b"mine").hexdigest()
    assert server.bodies_sent == 0


def test_the_embedded_model_is_the_published_one(settings: Settings) -> None:
    spec = get_spec("mini_vgg")
    weights = inspect_weights(ensure_weights(spec, settings), spec)
    assert weights.verified
    assert find_weights(spec, settings).stat().st_size == spec.weights.size_bytes <= 4_000_000


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Path.home() / ".keras" / "models"),
        ({"KERAS_HOME": "/somewhere"}, Path("/somewhere/models")),
    ],
)
def test_the_cache_is_that_of_keras(environment: dict[str, str], expected: Path) -> None:
    assert Settings.from_environment(environment).cache_dir == expected


@pytest.mark.parametrize(("value", "offline"), [("1", True), ("", False), ("0", False)])
def test_offline_switch(value: str, offline: bool) -> None:
    assert Settings.from_environment({"VGG_DEMO_OFFLINE": value}).offline is offline


def test_stopping_the_server_leaves_no_half_file(server: Server, settings: Settings) -> None:
    spec = spec_for(server, "slow")
    downloads = Downloads(dataclasses.replace(settings, stall_seconds=20))
    downloads.start(spec)
    while downloads.get(spec).progress is None:
        assert downloads.get(spec).status is Status.RUNNING
    server.go_on.set()
    downloads.stop()
    assert downloads.get(spec).status is not Status.RUNNING
    assert left_behind(settings) in ([], ["vgg16.h5"])


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_weights_folder_that_is_none(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").write_text("")
    settings = Settings(weights_dir=tmp_path / folder)
    with pytest.raises(WeightsMissingError, match=r"weights folder .* Check --weights-dir"):
        check_weights_dir(settings)
    assert find_weights(get_spec("vgg16"), settings) is None


def test_downloaded_files_can_be_read_by_others(server: Server, settings: Settings) -> None:
    path = ensure_weights(spec_for(server, "whole"), settings)
    assert path.stat().st_mode & 0o777 == 0o644


def test_downloads_in_the_background(server: Server, settings: Settings) -> None:
    spec = spec_for(server, "slow")
    downloads = Downloads(dataclasses.replace(settings, stall_seconds=20))
    assert downloads.get(spec) is None
    downloads.start(spec)
    downloads.start(spec)
    assert downloads.get(spec).status is Status.RUNNING
    server.go_on.set()
    join_downloads()
    assert downloads.get(spec).status is Status.DONE
    assert server.bodies_sent == 1


def test_failed_download_says_why_and_can_be_tried_again(
    server: Server, settings: Settings
) -> None:
    downloads = Downloads(settings)
    downloads.start(spec_for(server, "missing"))
    join_downloads()
    assert downloads.get(get_spec("vgg16")).status is Status.FAILED
    assert "404" in downloads.get(get_spec("vgg16")).error
    downloads.start(spec_for(server, "whole"))
    join_downloads()
    assert downloads.get(get_spec("vgg16")).status is Status.DONE


def join_downloads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("download-"):
            thread.join(20)
