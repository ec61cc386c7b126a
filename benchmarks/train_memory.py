"""Memory of a training worker, besides what it shares with the server.

    python -m benchmarks.train_memory DATA [TABLE]

For the arguments, see `benchmarks.train`. Reads the unique set size of the worker every 50 ms:
more than half of TensorFlow's 600 MB are pages of the library, which all processes share. Prints
the table of ``benchmarks/README.md``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import psutil

from benchmarks.train import BACKBONE, Job, read_dataset, settings
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos
from vgg_demo.training.jobs.queue import TrainingQueue, needed_bytes
from vgg_demo.training.jobs.training_run import TrainingRun
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.records import summarize_inspection

POLL_SECONDS = 0.05


def unique_bytes() -> int:
    """Returns the unique set size of the worker; 0 if none is running."""
    total = 0
    for child in psutil.Process().children():
        try:
            if "vgg_demo.training.jobs.worker" in child.cmdline():
                total += child.memory_full_info().uss
        except psutil.Error:  # the process has just ended
            continue
    return total


def watch(run: TrainingRun) -> dict[str, int]:
    """Returns the peak of each stage, in bytes."""
    peaks: dict[str, int] = defaultdict(int)
    while not run.stage.is_over:
        stage = str(run.stage)
        peaks[stage] = max(peaks[stage], unique_bytes())
        time.sleep(POLL_SECONDS)
    return peaks


def main() -> None:
    data, table = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as name:
        job = Job(data, table, Path(name))
        # A temporary cache instead of the user's, so that the features are computed.
        own_settings = replace(settings(), cache_dir=Path(name) / "models")
        queue = TrainingQueue(own_settings, ModelStore(own_settings))
        photos = read_dataset(job).photos
        inspected = summarize_inspection(
            [photo for photo in inspect_photos(photos) if isinstance(photo, InspectedPhoto)],
            (),
            224,
        )
        run = queue.start(
            "x", BACKBONE, FeatureLayer.GLOBAL_POOLING, Recipe(fine_tuning_epochs=1), inspected
        )
        peaks = watch(run)
        print(f"| {BACKBONE}, {len(inspected.photos):,} photos | MB |\n|---|---|")
        for stage, peak in peaks.items():
            print(f"| {stage} | {peak / 1e6:,.0f} |")
        print(f"| reserved for the worker | {needed_bytes(run, run.job) / 1e6:,.0f} |")
        queue.close()


if __name__ == "__main__":
    main()
