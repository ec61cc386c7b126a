"""Classification and comparison for the endpoints, in threads and within limits."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from vgg_demo.analysis.comparison import Comparison, compare
from vgg_demo.api.metrics import Metrics, anonymize_model
from vgg_demo.api.settings import ApiSettings
from vgg_demo.errors import BusyError, DownloadingError, ImageError, WeightsMissingError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.background import BackgroundDownloads
from vgg_demo.inference.batching import MicroBatcher
from vgg_demo.inference.classify import PreparedPhoto, prepare_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import Classification, Failure
from vgg_demo.models.lookup import find_model, published_models
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import MODELS, ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.local import find_weights

COMPARISON_SECONDS = 5.0
"""Expected duration of a comparison, for Retry-After."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A photo uploaded with a request.

    Attributes:
        file: Its file name.
        data: Its bytes.
    """

    file: str
    data: bytes


class Service:
    """Classifies and compares photos for all clients, with one model store.

    Attributes:
        settings: Settings of the server.
        store: The loaded models.
        metrics: Metrics of the server.
    """

    def __init__(
        self,
        settings: Settings,
        limits: ApiSettings,
        store: ModelStore,
        downloads: BackgroundDownloads,
    ) -> None:
        self.settings = settings
        self.store = store
        self._limits = limits
        self._downloads = downloads
        self._batcher = MicroBatcher(store)
        self._decoding = ThreadPoolExecutor(os.cpu_count(), "api-decode")
        self._comparing = ThreadPoolExecutor(1, "api-compare")
        # Photos and comparisons waiting or in progress; changed by the event loop's thread only.
        self._photos = 0
        self._comparisons = 0
        self.metrics = Metrics(store, lambda: self._photos)

    def custom_models(self) -> dict[str, ModelSpec]:
        """Returns the custom models published on this server, by name."""
        return published_models(self.settings.bundles_dir)

    def find_model(self, name: str) -> ModelSpec:
        """Returns a model by its name, never by a path.

        Raises:
            UnknownModelError: If no model has this name.
            BundleError: If several custom models have this name.
        """
        return MODELS[name] if name in MODELS else find_model(name, self.custom_models())

    async def classify(
        self, uploads: Sequence[Upload], spec: ModelSpec, resize: Resize
    ) -> tuple[list[Classification], list[Failure]]:
        """Classifies photos with one model.

        Args:
            uploads: The photos.
            spec: The model; must be installed.
            resize: How photos are made square.

        Returns:
            The results, and the failures for photos that cannot be used.

        Raises:
            ModelError: If the model is not installed or cannot be loaded.
            BusyError: If too many photos are waiting.
        """
        self._check_installed(spec)
        limit = self._limits.max_waiting_photos
        if self._photos + len(uploads) > limit:
            raise BusyError(
                f"{self._photos} photos are already waiting, and the request has {len(uploads)}; "
                f"the limit is {limit}. Try again later.",
                retry_seconds=self._batcher.expected_seconds(self._photos),
            )
        self._photos += len(uploads)
        try:
            run = asyncio.get_running_loop().run_in_executor
            outcomes = await asyncio.gather(
                *(run(self._decoding, self._prepare, upload, spec, resize) for upload in uploads)
            )
            prepared = [outcome for outcome in outcomes if isinstance(outcome, PreparedPhoto)]
            results = await self._predict(prepared, spec)
        finally:
            self._photos -= len(uploads)
        self.metrics.photos.labels(anonymize_model(spec.name)).inc(len(results))
        return results, [outcome for outcome in outcomes if isinstance(outcome, Failure)]

    async def compare(
        self,
        upload: Upload,
        specs: Sequence[ModelSpec],
        resize: Resize,
        repeat: int,
    ) -> Comparison:
        """Classifies a photo with several models and measures their latency.

        Args:
            upload: The photo.
            specs: The models. One that is not installed becomes a `ModelFailure`.
            resize: How the photo is made square.
            repeat: Number of timed runs of each model, 1 or more.

        Raises:
            ImageError: If the photo cannot be used.
            BusyError: If too many comparisons are waiting.
        """
        limit = self._limits.max_waiting_comparisons
        if self._comparisons > limit:
            raise BusyError(
                f"{limit} comparisons are already waiting, which is the limit. Try again later.",
                retry_seconds=COMPARISON_SECONDS * self._comparisons,
            )
        self._comparisons += 1
        try:
            run = asyncio.get_running_loop().run_in_executor
            comparison = await run(self._comparing, self._compare, upload, specs, resize, repeat)
        finally:
            self._comparisons -= 1
        for result in comparison.results:
            self.metrics.photos.labels(anonymize_model(result.classification.model)).inc()
        return comparison

    def redact_paths(self, message: str) -> str:
        """Replaces the server's folders in a message with "…" to hide them from clients."""
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
            prepare_model=self._check_installed,
        )
        return Comparison.of(list(outcomes))

    def _prepare(self, upload: Upload, spec: ModelSpec, resize: Resize) -> PreparedPhoto | Failure:
        try:
            photo = open_photo(upload.data, file=upload.file, limits=self.settings.limits)
        except ImageError as error:
            return Failure(upload.file, type(error).__name__, str(error))
        return prepare_photo(photo, spec, resize)

    async def _predict(
        self, photos: Sequence[PreparedPhoto], spec: ModelSpec
    ) -> list[Classification]:
        futures: list[Future[Classification]] = []
        try:
            for photo in photos:
                futures.append(self._batcher.submit(photo, spec))  # noqa: PERF401
            return await asyncio.gather(*map(asyncio.wrap_future, futures))
        finally:  # if one photo fails, the request fails: the others need not run
            for future in futures:
                future.cancel()

    def _check_installed(self, spec: ModelSpec) -> None:
        """Checks that a model is installed.

        A request never starts a download: a small request must not cost the server gigabytes.

        Raises:
            WeightsMissingError: If the model is not installed.
            DownloadingError: If the server or a visitor of the page is downloading it.
        """
        if find_weights(spec, self.settings) is not None:
            return
        download = self._downloads.get(spec)
        if download is not None and download.is_active:
            raise DownloadingError(
                f"{spec.keras_name} ({spec.weights.size_bytes / 1e6:,.0f} MB) is being downloaded "
                "to this server. Try again later."
            )
        raise WeightsMissingError(
            f"{spec.keras_name} is not installed on this server. GET /api/v1/models lists the "
            "installed models. The server's operator can install it: "
            f"vgg-demo weights download {spec.name}"
        )
