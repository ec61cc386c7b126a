"""Batch classification on a Ray cluster returns the same rows as on one machine."""

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
from vgg_demo.batch.ray import BatchJob, classify_with_ray
from vgg_demo.cli import main
from vgg_demo.errors import ClusterError
from vgg_demo.files.result_tables import read_rows
from vgg_demo.files.sources import find_photos
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "vgg_demo" / "data" / "examples"


def local_rows(folder: Path, model: str, settings: Settings) -> list[dict[str, Any]]:
    spec = get_spec(model)
    rows = classify_photos(find_photos([str(folder)]), [spec], ModelStore(settings))
    return [flat for row in rows for flat in flatten(row, [spec])]


def ray_rows(out: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(out.glob("*.parquet")) for row in read_rows(path)]


def batch(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["batch", *map(str, arguments), "--engine", "ray"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos in two folders; two files are not images, one is empty."""
    folder = tmp_path / "photos"
    (folder / "nested").mkdir(parents=True)
    names = ("cat", "dog", "parrot", "moose")
    for number in range(40):
        parent = folder / "nested" if number % 3 == 0 else folder
        shutil.copy(EXAMPLES / f"{names[number % 4]}.jpg", parent / f"{number:02}.jpg")
    (folder / "bad.jpg").write_bytes(b"not an image")
    (folder / "nested" / "bad.png").write_bytes(b"not an image either")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("not a photo")
    shutil.copy(EXAMPLES / "cat.jpg", folder / "_DSC0001.jpg")
    shutil.copy(EXAMPLES / "cat.jpg", folder / "nested" / "._hidden.jpg")
    return folder


def test_ray_rows_equal_the_rows_of_one_machine(folder: Path, tmp_path: Path) -> None:
    """On a temporary local cluster: bit for bit, including the rows of invalid files."""
    pytest.importorskip("ray")
    out = tmp_path / "out.parquet"
    result = batch(folder, "--model", "mini_vgg", "--out", out, "--concurrency", "1")
    assert "44 rows in " in result.stderr
    assert "3 with an error" in result.stderr
    assert result.exit_code == 1
    expected = local_rows(folder, "mini_vgg", Settings())
    rows = ray_rows(out)
    assert rows == expected
    assert sum(row["error"] == "NotAnImageError" for row in rows) == 3


def test_cluster_with_too_few_cpus_is_rejected(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    job = BatchJob(("mini_vgg",), Resize.CROP, 5, Settings())
    with pytest.raises(ClusterError, match=r"1000 actors and a reader need 1001 CPUs; the cluster"):
        classify_with_ray([str(folder)], str(tmp_path / "out"), job, concurrency=1000)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("paths", [["a.zip"], ["photos", "s3://bucket/photos"]])
def test_archives_and_mixed_locations_are_rejected(paths: list[str], tmp_path: Path) -> None:
    pytest.importorskip("ray")
    job = BatchJob(("mini_vgg",), Resize.CROP, 5, Settings())
    with pytest.raises(ClusterError, match="Unpack archives first"):
        classify_with_ray(paths, str(tmp_path / "out"), job)


def test_missing_ray_names_the_install_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = batch(EXAMPLES, "--model", "mini_vgg", "--out", tmp_path / "out.parquet")
    assert result.exit_code == 1
    assert "pip install -r requirements-ray.txt" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [(), ("--out", "a.csv"), ("--resume", "a.parquet"), ("--out", "a.parquet", "--sort-into", "b")],
)
def test_invalid_options_are_rejected(arguments: tuple[str, ...]) -> None:
    result = batch(EXAMPLES, "--model", "mini_vgg", *arguments)
    assert result.exit_code == 2
    assert "--engine ray requires --out FOLDER.parquet" in result.stderr


def test_existing_output_is_not_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    out.mkdir()
    result = batch(EXAMPLES, "--model", "mini_vgg", "--out", out)
    assert "already exists" in result.stderr
    without_engine = CliRunner().invoke(main, ["batch", str(EXAMPLES), "--concurrency", "2"])
    assert "require --engine ray" in without_engine.stderr


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Three nodes with one CPU each, as local processes; two of them join in the test."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_lost_machine_neither_loses_nor_duplicates_rows(
    cluster: Any, shared: Path, tmp_path: Path
) -> None:
    """One of two worker nodes is killed halfway."""
    machines = [cluster.add_node(num_cpus=1) for _ in range(2)]
    folder, out = shared / "data" / "imagenet-sample", tmp_path / "out.parquet"
    settings = Settings(weights_dir=shared / "weights", offline=True)
    files_when_killed: list[int] = []

    def kill() -> None:
        for _ in range(4000):
            if any(out.glob("*.parquet")):
                break
            threading.Event().wait(0.05)
        files_when_killed.append(sum(1 for _ in out.glob("*.parquet")))
        cluster.remove_node(machines[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    job = BatchJob(("mobilenet_v2",), Resize.CROP, 5, settings)
    summary = classify_with_ray(
        [str(folder)], str(out), job, address=cluster.address, concurrency=2
    )
    killer.join(60)
    files = sum(1 for _ in out.glob("*.parquet"))
    assert files_when_killed[0] < files  # the node was killed during the job
    assert (summary.rows, summary.failed) == (500, 0)
    rows = ray_rows(out)
    assert len({row["file"] for row in rows}) == 500
    assert rows == local_rows(folder, "mobilenet_v2", settings)
