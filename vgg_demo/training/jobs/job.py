"""The input of a worker process: a job and its photos, in one stream.

The stream is a TAR archive: first the job, then the photos. Both sides process it sequentially, so
that no photo is written to disk.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from vgg_demo.files.sources import Source
from vgg_demo.limits import ImageLimits
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.settings import Settings, TrainingAccess
from vgg_demo.training.dataset import LabeledPhoto
from vgg_demo.training.inspection import InspectedPhoto
from vgg_demo.training.recipe import ExportFormat, Recipe

STOP = b"stop\n"
"""Sent after the archive to end training early; the worker then saves the best model so far."""

JOB_FILE = "job.json"


@dataclass(frozen=True, slots=True)
class Job:
    """A job for a worker: train a model or export one.

    Attributes:
        bundle: Folder of the model's bundle. Training creates it, an export reads it.
        backbone: Name of the pretrained model.
        feature_layer: Layer of the backbone that provides the features.
        recipe: Hyperparameters.
        settings: Location of weight files, and the worker's memory limit.
        from_checkpoint: Skip the training and build the model from the checkpoint of an earlier
            worker.
        export: Export the model in this format instead of training it.
    """

    bundle: Path
    backbone: str
    feature_layer: FeatureLayer
    recipe: Recipe
    settings: Settings
    from_checkpoint: bool = False
    export: ExportFormat | None = None

    @property
    def folder(self) -> Path:
        """Folder of the worker's output files."""
        return self.bundle.parent


def send(stream: BinaryIO, job: Job, photos: Sequence[InspectedPhoto]) -> None:
    """Writes a job and its photos to a stream.

    Raises:
        OSError: If the reader has closed the stream.
        VggDemoError: If a photo can no longer be read.
    """
    records = [
        {
            "name": inspected.photo.source.name,
            "label": inspected.photo.label,
            "group": inspected.photo.group,
            "sha256": inspected.sha256,
            "size": [inspected.width, inspected.height],
            "fingerprint": [f"{word:016x}" for word in inspected.fingerprint.tolist()],
        }
        for inspected in photos
    ]
    text = json.dumps({"job": asdict(job), "photos": records}, default=str)
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        _add(archive, JOB_FILE, text.encode())
        for index, inspected in enumerate(photos):
            _add(archive, str(index), inspected.photo.source.read())
    stream.flush()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def receive(stream: BinaryIO) -> tuple[Job, tuple[InspectedPhoto, ...]]:
    """Reads a job and its photos as written by `send`; reads nothing beyond them."""
    contents: list[bytes] = []
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            file = archive.extractfile(member)
            contents.append(file.read() if file is not None else b"")
    document = json.loads(contents[0])
    photos = zip(document["photos"], contents[1:], strict=True)
    return _read_job(document["job"]), tuple(_read_photo(*photo) for photo in photos)


def _read_photo(record: dict[str, Any], data: bytes) -> InspectedPhoto:
    width, height = record["size"]
    return InspectedPhoto(
        photo=LabeledPhoto(
            Source(record["name"], partial(bytes, data)), record["label"], record["group"]
        ),
        sha256=record["sha256"],
        width=width,
        height=height,
        size_bytes=len(data),
        fingerprint=np.array([int(word, 16) for word in record["fingerprint"]], dtype=np.uint64),
        thumbnail=b"",
    )


def _read_job(record: dict[str, Any]) -> Job:
    settings = record["settings"]
    paths = {
        name: Path(settings[name]) if settings[name] is not None else None
        for name in ("weights_dir", "cache_dir", "chosen_bundles_dir")
    }
    return Job(
        **record
        | {
            "bundle": Path(record["bundle"]),
            "feature_layer": FeatureLayer(record["feature_layer"]),
            "recipe": Recipe(**record["recipe"]),
            "settings": Settings(
                **settings
                | paths
                | {
                    "limits": ImageLimits(**settings["limits"]),
                    "training_access": TrainingAccess(settings["training_access"]),
                }
            ),
        }
    )


def without_data(inspected: InspectedPhoto) -> InspectedPhoto:
    """Returns the properties of a photo without its data: its source reads as empty."""
    source = Source(inspected.photo.source.name, bytes)
    return replace(inspected, photo=replace(inspected.photo, source=source))
