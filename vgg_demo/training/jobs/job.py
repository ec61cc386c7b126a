"""What a worker process is told: a job and the photos for it, in one stream.

The stream is a TAR archive, which both sides read and write as it comes: first the job, then the
photos. So no photo is ever written to disk.
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
"""What is written behind the archive to have a training end with the best so far."""

JOB = "job.json"


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is to do.

    Attributes:
        bundle: Folder of the model: to be made, or to be exported.
        backbone: Name of the model on whose shoulders it stands.
        feature_layer: How much of that.
        recipe: How it is taught.
        settings: Where weights are, and the memory that the worker may hold.
        from_checkpoint: Learn nothing more, but make a model of the best that an earlier worker left.
        export: Write the model in this format instead.
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
        """Where the worker leaves what is to outlive it."""
        return self.bundle.parent


def send(stream: BinaryIO, job: Job, photos: Sequence[InspectedPhoto]) -> None:
    """Writes a job and its photos.

    Raises:
        OSError: If nobody reads any more.
        VggDemoError: If a photo cannot be read any more.
    """
    records = [
        {
            "name": one.photo.source.name,
            "label": one.photo.label,
            "group": one.photo.group,
            "sha256": one.sha256,
            "size": [one.width, one.height],
            "fingerprint": [f"{word:016x}" for word in one.fingerprint.tolist()],
        }
        for one in photos
    ]
    text = json.dumps({"job": asdict(job), "photos": records}, default=str)
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        _add(archive, JOB, text.encode())
        for place, one in enumerate(photos):
            _add(archive, str(place), one.photo.source.read())
    stream.flush()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def receive(stream: BinaryIO) -> tuple[Job, tuple[InspectedPhoto, ...]]:
    """Reads what `send` has written, and nothing behind it."""
    contents: list[bytes] = []
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            opened = archive.extractfile(member)
            contents.append(opened.read() if opened is not None else b"")
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


def without_photo(inspected: InspectedPhoto) -> InspectedPhoto:
    """Returns what is known of a photo, without the photo."""
    source = Source(inspected.photo.source.name, bytes)
    return replace(inspected, photo=replace(inspected.photo, source=source))
