"""What the API does with photos, off the event loop and within bounds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from vgg_demo.api.metrics import Metrics
from vgg_demo.api.settings import ApiSettings
from vgg_demo.classify import Prepared, prepare_photo
from vgg_demo.compare import Comparison, compare
from vgg_demo.downloads import Downloads
from vgg_demo.errors import BusyError, DownloadingError, ImageError, WeightsMissingError
from vgg_demo.gather import Gatherer
from vgg_demo.photo import open_photo
from vgg_demo.preprocess import Resize
from vgg_demo.registry import ModelSpec
from vgg_demo.results import Classification, Failure
from vgg_demo.settings import Settings
from vgg_demo.store import ModelStore
from vgg_demo.weights import find_weights

COMPARISON_SECONDS = 5.0
"""After which a comparison is expected to have made room for another."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo that came with a request.

    Attributes:
        file: Its name.
        data: Its bytes.
    """

    file: str
    data: bytes


class Service:
    """Answers requests of all clients with one store of models.

    Attributes:
        metrics: Counts.
        settings: Where models are.
        store: Those that are loaded.
    """

    def __init__(
        self, settings: Settings, limits: ApiSettings, store: ModelStore, downloads: Downloads
    ) -> None:
        self.settings = settings
        self.store = store
        self._limits = limits
        self._downloads = downloads
        self._gatherer = Gatherer(store)
        self._decoding = ThreadPoolExecutor(os.cpu_count(), "api-decode")
        self._comparing = ThreadPoolExecutor(1, "api-compare")
        self._comparisons = 0  # that run or wait; only the event loop's thread counts
        self.metrics = Metrics(store, self._gatherer)

    async def classify(
        self, uploads: Sequence[Upload], spec: ModelSpec, policy: Resize
    ) -> tuple[list[Classification], list[Failure]]:
        """Asks a model about photos.

        Raises:
            ModelError: If the model cannot be had.
            BusyError: If too many photos wait already.
        """
        self._make_ready(spec)
        run = asyncio.get_running_loop().run_in_executor
        opened = await asyncio.gather(
            *(run(self._decoding, self._prepare, upload, spec, policy) for upload in uploads)
        )
        results = await self._ask([photo for photo in opened if isinstance(photo, Prepared)], spec)
        self.metrics.photos.labels(spec.name).inc(len(results))
        return results, [photo for photo in opened if isinstance(photo, Failure)]

    async def compare(
        self,
        upload: Upload,
        specs: Sequence[ModelSpec],
        policy: Resize,
        repeat: int,
    ) -> Comparison:
        """Asks several models about a photo, and measures them.

        Raises:
            ImageError: If the photo cannot be used.
            BusyError: If too many comparisons wait already.
        """
        if self._comparisons > self._limits.comparisons:
            raise BusyError(
                f"{self._limits.comparisons} comparisons are waiting already, which is the limit. "
                "Try again later.",
                retry_seconds=COMPARISON_SECONDS * self._comparisons,
            )
        self._comparisons += 1
        try:
            run = asyncio.get_running_loop().run_in_executor
            comparison = await run(self._comparing, self._compare, upload, specs, policy, repeat)
        finally:
            self._comparisons -= 1
        for answer in comparison.answers:
            self.metrics.photos.labels(answer.result.model).inc()
        return comparison

    def _compare(
        self, upload: Upload, specs: Sequence[ModelSpec], policy: Resize, repeat: int
    ) -> Comparison:
        photo = open_photo(upload.data, file=upload.file, limits=self.settings.limits)
        outcomes = compare(
            photo, specs, self.store, policy=policy, repeat=repeat, make_ready=self._make_ready
        )
        return Comparison.of(list(outcomes))

    def _prepare(self, upload: Upload, spec: ModelSpec, policy: Resize) -> Prepared | Failure:
        try:
            photo = open_photo(upload.data, file=upload.file, limits=self.settings.limits)
        except ImageError as error:
            return Failure(upload.file, type(error).__name__, str(error))
        return prepare_photo(photo, spec, policy)

    async def _ask(self, photos: Sequence[Prepared], spec: ModelSpec) -> list[Classification]:
        asked: list[Future[Classification]] = []
        try:
            for photo in photos:
                asked.append(self._gatherer.submit(photo, spec))  # noqa: PERF401
            return await asyncio.gather(*map(asyncio.wrap_future, asked))
        except BaseException:  # too busy, or the client has gone: nobody wants the others
            for answer in asked:
                answer.cancel()
            raise

    def _make_ready(self, spec: ModelSpec) -> None:
        """Makes sure that a model is on this machine; begins to download it if it may.

        Raises:
            WeightsMissingError: If it is not, and may not be downloaded.
            DownloadingError: If it is on its way.
        """
        if find_weights(spec, self.settings) is not None:
            return
        if self.settings.offline:
            raise WeightsMissingError(
                f"{spec.keras_name} is not on this server, and downloading is switched off there. "
                "GET /api/v1/models tells which are."
            )
        failed = self._downloads.get(spec)
        self._downloads.start(spec)
        if failed is not None and failed.error is not None:
            raise DownloadingError(f"{failed.error} It is being tried once more.")
        raise DownloadingError(
            f"{spec.keras_name} ({spec.weights.size_bytes / 1e6:,.0f} MB) is being downloaded to "
            "this server. Try again later."
        )
