"""The batch on a Ray cluster: the rows of the local engine, whatever happens to a machine."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vgg_demo.batch.pipeline import classify_photos, flatten
from vgg_demo.batch.ray import Work, classify_with_ray
from vgg_demo.cli import main
from vgg_demo.errors import ClusterError
from vgg_demo.files.result_tables import read_rows
from vgg_demo.files.sources import find_photos
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "vgg_demo" / "data" / "examples"


def local_rows(folder: Path, model: str, settings: Settings) -> list[dict[str, Any]]:
    spec = get_spec(model)
    rows = classify_photos(find_photos([str(folder)]), [spec], ModelStore(settings))
    return [found for row in rows for found in flatten(row, [spec])]


def ray_rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("*.parquet")) for row in read_rows(path)]


def batch(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["batch", *map(str, arguments), "--engine", "ray"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Forty photos; two are none, one is empty."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    names = ("cat", "dog", "parrot", "moose")
    for number in range(40):
        place = folder / "below" if number % 3 == 0 else folder
        shutil.copy(EXAMPLES / f"{names[number % 4]}.jpg", place / f"{number:02}.jpg")
    (folder / "bad.jpg").write_bytes(b"no picture")
    (folder / "below" / "bad.png").write_bytes(b"no picture either")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no photo")
    shutil.copy(EXAMPLES / "cat.jpg", folder / "_DSC0001.jpg")
    shutil.copy(EXAMPLES / "cat.jpg", folder / "below" / "._hidden.jpg")
    return folder


def test_the_rows_of_the_local_engine(folder: Path, tmp_path: Path) -> None:
    """On a cluster of this machine, for this run: bit for bit, with rows for bad files."""
    pytest.importorskip("ray")
    out = tmp_path / "out.parquet"
    result = batch(folder, "--model", "mini_vgg", "--out", out, "--concurrency", "1")
    assert "44 rows in " in result.stderr
    assert "3 of them with an error" in result.stderr
    assert result.exit_code == 1
    expected = local_rows(folder, "mini_vgg", Settings())
    found = ray_rows(out)
    assert found == expected
    assert sum(row["error"] == "NotAnImageError" for row in found) == 3


def test_a_cluster_that_is_too_small(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    work = Work(("mini_vgg",), Resize.CROP, 5, Settings())
    with pytest.raises(ClusterError, match=r"1000 actors and a reader need 1001 CPUs; the cluster"):
        classify_with_ray([str(folder)], str(tmp_path / "out"), work, concurrency=1000)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("paths", [["a.zip"], ["photos", "s3://bucket/photos"]])
def test_places_that_do_not_go(paths: list[str], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    work = Work(("mini_vgg",), Resize.CROP, 5, Settings())
    with pytest.raises(ClusterError, match="Unpack archives first"):
        classify_with_ray(paths, str(tmp_path / "out"), work)


def test_without_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = batch(EXAMPLES, "--model", "mini_vgg", "--out", tmp_path / "out.parquet")
    assert result.exit_code == 1
    assert "pip install -r requirements-ray.txt" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("--out", "a.csv"), ("--resume", "a.parquet"), ("--out", "a.parquet", "--move-to", "b")],
)
def test_used_wrongly(arguments: tuple[str, ...]) -> None:
    result = batch(EXAMPLES, "--model", "mini_vgg", *arguments)
    assert result.exit_code == 2
    assert "--engine ray needs --out FOLDER.parquet" in result.stderr


def test_nothing_is_written_over(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    out.mkdir()
    result = batch(EXAMPLES, "--model", "mini_vgg", "--out", out)
    assert "is there already" in result.stderr
    without = CliRunner().invoke(main, ["batch", str(EXAMPLES), "--concurrency", "2"])
    assert "need --engine ray" in without.stderr


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three machines of one CPU each, as processes of this one; two will work."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_a_machine_is_lost(cluster: Any, shared: Path, tmp_path: Path) -> None:
    """Of two that work, one is killed on the way: nothing is lost, and nothing there twice."""
    machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
    folder, out = shared / "data" / "imagenet-sample", tmp_path / "out.parquet"
    settings = Settings(weights_dir=shared / "weights", offline=True)
    killed: list[int] = []

    def kill() -> None:
        for _ in range(4000):
            if any(out.glob("*.parquet")):
                break
            threading.Event().wait(0.05)
        killed.append(sum(1 for _ in out.glob("*.parquet")))
        cluster.remove_node(machines[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    work = Work(("mobilenet_v2",), Resize.CROP, 5, settings)
    written = classify_with_ray(
        [str(folder)], str(out), work, address=cluster.address, concurrency=2
    )
    killer.join(60)
    assert killed[0] < sum(1 for _ in out.glob("*.parquet"))  # while it was at work
    assert (written.rows, written.failed) == (500, 0)
    found = ray_rows(out)
    assert len({row["file"] for row in found}) == 500
    assert found == local_rows(folder, "mobilenet_v2", settings)
