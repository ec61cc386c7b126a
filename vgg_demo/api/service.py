"""What the API does with photos, off the event loop and within bounds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from vgg_demo.analysis.comparison import Comparison, compare
from vgg_demo.api.metrics import Metrics, public_name
from vgg_demo.api.settings import ApiSettings
from vgg_demo.errors import BusyError, DownloadingError, ImageError, WeightsMissingError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.background import Downloads
from vgg_demo.inference.batching import MicroBatcher
from vgg_demo.inference.classify import Prepared, prepare_photo
from vgg_demo.inference.results import Classification, Failure
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.catalog import find_model, published_models
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import MODELS, ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.local import find_weights

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
        self._batcher = MicroBatcher(store)
        self._decoding = ThreadPoolExecutor(os.cpu_count(), "api-decode")
        self._comparing = ThreadPoolExecutor(1, "api-compare")
        # What runs or waits; only the event loop's thread counts.
        self._photos = 0
        self._comparisons = 0
        self.metrics = Metrics(store, lambda: self._photos)

    def custom_models(self) -> dict[str, ModelSpec]:
        """Returns the taught models that are kept on this server, by their names."""
        return published_models(self.settings.bundles_dir)

    def find(self, name: str) -> ModelSpec:
        """Returns a model by its name; a path is none.

        Raises:
            UnknownModelError: If there is none.
            BundleError: If several taught models are called so.
        """
        return MODELS[name] if name in MODELS else find_model(name, self.custom_models())

    async def classify(
        self, uploads: Sequence[Upload], spec: ModelSpec, resize: Resize
    ) -> tuple[list[Classification], list[Failure]]:
        """Asks a model about photos.

        Raises:
            ModelError: If the model cannot be had.
            BusyError: If too many photos wait already.
        """
        self._prepare_model(spec)
        if self._photos + len(uploads) > self._limits.waiting:
            raise BusyError(
                f"{self._photos} photos are waiting already; the limit is {self._limits.waiting}. "
                "Try again later.",
                retry_seconds=self._batcher.expected_seconds(self._photos),
            )
        self._photos += len(uploads)
        try:
            run = asyncio.get_running_loop().run_in_executor
            opened = await asyncio.gather(
                *(run(self._decoding, self._prepare, upload, spec, resize) for upload in uploads)
            )
            prepared = [photo for photo in opened if isinstance(photo, Prepared)]
            results = await self._ask(prepared, spec)
        finally:
            self._photos -= len(uploads)
        self.metrics.photos.labels(public_name(spec.name)).inc(len(results))
        return results, [photo for photo in opened if isinstance(photo, Failure)]

    async def compare(
        self,
        upload: Upload,
        specs: Sequence[ModelSpec],
        resize: Resize,
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
            comparison = await run(self._comparing, self._compare, upload, specs, resize, repeat)
        finally:
            self._comparisons -= 1
        for answer in comparison.results:
            self.metrics.photos.labels(answer.classification.model).inc()
        return comparison

    def without_folders(self, message: str) -> str:
        """Returns a message without what clients need not know: where things are here."""
        settings = self.settings
        for folder in (settings.weights_dir, settings.cache_dir, settings.bundles_dir):
            if folder is not None:
                message = message.replace(str(folder), "…")
        return message

    def _compare(
        self, upload: Upload, specs: Sequence[ModelSpec], resize: Resize, repeat: int
    ) -> Comparison:
        photo = open_photo(upload.data, file=upload.file, limits=self.settings.limits)
        outcomes = compare(
            photo,
            specs,
            self.store,
            resize=resize,
            repeat=repeat,
            prepare_model=self._prepare_model,
        )
        return Comparison.of(list(outcomes))

    def _prepare(self, upload: Upload, spec: ModelSpec, resize: Resize) -> Prepared | Failure:
        try:
            photo = open_photo(upload.data, file=upload.file, limits=self.settings.limits)
        except ImageError as error:
            return Failure(upload.file, type(error).__name__, str(error))
        return prepare_photo(photo, spec, resize)

    async def _ask(self, photos: Sequence[Prepared], spec: ModelSpec) -> list[Classification]:
        asked: list[Future[Classification]] = []
        try:
            for photo in photos:
                asked.append(self._batcher.submit(photo, spec))  # noqa: PERF401
            return await asyncio.gather(*map(asyncio.wrap_future, asked))
        finally:  # where one has an error, nobody wants the others any more
            for answer in asked:
                answer.cancel()

    def _prepare_model(self, spec: ModelSpec) -> None:
        """Makes sure that a model is on this machine.

        It is not downloaded: a request of some bytes would cost the server gigabytes.

        Raises:
            WeightsMissingError: If it is not.
            DownloadingError: If it is on its way, as the server's own choice or a visitor's.
        """
        if find_weights(spec, self.settings) is not None:
            return
        download = self._downloads.get(spec)
        if download is not None and download.is_under_way:
            raise DownloadingError(
                f"{spec.keras_name} ({spec.weights.size_bytes / 1e6:,.0f} MB) is being downloaded "
                "to this server. Try again later."
            )
        raise WeightsMissingError(
            f"{spec.keras_name} is not on this server. GET /api/v1/models tells which are; who "
            f"runs it can add it: vgg-demo weights download {spec.name}"
        )
