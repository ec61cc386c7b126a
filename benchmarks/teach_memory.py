"""How much memory a training's process takes, besides what it shares with the server.

    python -m benchmarks.teach_memory DATA [TABLE]

As `benchmarks.teach`. What counts is the unique set of the process (of TensorFlow's 600 MB in
memory, more than half are the library's own pages, which are there once), read every 50 ms.
Prints the table of ``benchmarks/README.md``.
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

from benchmarks.teach import BACKBONE, Job, read_dataset, settings
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.training.data import summarize_inspection
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos
from vgg_demo.training.jobs.queue import TrainingQueue, needed_bytes
from vgg_demo.training.jobs.run import TrainingRun
from vgg_demo.training.recipe import Recipe

POLL_SECONDS = 0.05


def unique_bytes() -> int:
    """Returns what the worker alone holds; 0 while there is none."""
    total = 0
    for child in psutil.Process().children():
        try:
            if "vgg_demo.training.jobs.worker" in child.cmdline():
                total += child.memory_full_info().uss
        except psutil.Error:  # it has just ended
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
        # Not the user's own cache: what is computed already takes no memory.
        chosen = replace(settings(), cache_dir=Path(name) / "models")
        room = TrainingQueue(chosen, ModelStore(chosen))
        photos = read_dataset(job).photos
        inspected = summarize_inspection(
            [x for x in inspect_photos(photos) if isinstance(x, InspectedPhoto)], (), 224
        )
        run = room.start(
            "x", BACKBONE, FeatureLayer.GLOBAL_POOLING, Recipe(tuning_epochs=1), inspected
        )
        peaks = watch(run)
        print(f"| {BACKBONE}, {len(inspected.photos):,} photos | MB |\n|---|---|")
        for stage, peak in peaks.items():
            print(f"| {stage} | {peak / 1e6:,.0f} |")
        print(f"| set aside for it | {needed_bytes(run, run.job) / 1e6:,.0f} |")
        room.close()


if __name__ == "__main__":
    main()
