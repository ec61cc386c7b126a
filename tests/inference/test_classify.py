"""Classification with the embedded model and real photos."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vgg_demo.inference.model_store
from vgg_demo.analysis.verdict import interpret
from vgg_demo.errors import NotAnImageError, WeightsCorruptError, WeightsMissingError
from vgg_demo.images.decode import decode
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.classify import classify, classify_prepared, prepare_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec
from vgg_demo.reports.annotate import MAX_SIDE, annotate, to_png
from vgg_demo.settings import Settings

MINI_VGG = get_spec("mini_vgg")


@pytest.mark.parametrize(
    ("photo", "label"), [("cat", "cat"), ("dog", "dog"), ("parrot", "bird"), ("moose", "deer")]
)
@pytest.mark.parametrize("resize", Resize)
def test_example_photos_are_classified_correctly(
    photos: dict[str, bytes], store: ModelStore, photo: str, label: str, resize: Resize
) -> None:
    result = classify(photos[photo], MINI_VGG, store, resize=resize)
    assert result.predictions(1)[0].label == label
    assert result.weights.verified


def test_predictions_are_sorted_and_sum_to_one(photos: dict[str, bytes], store: ModelStore) -> None:
    result = classify(photos["rocket"], MINI_VGG, store)
    predictions = result.predictions(10)
    assert [p.rank for p in predictions] == list(range(1, 11))
    probabilities = [p.probability for p in predictions]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert len({p.wnid for p in predictions}) == 10


def test_ties_are_in_the_order_of_the_output(photos: dict[str, bytes], store: ModelStore) -> None:
    result = classify(photos["cat"], MINI_VGG, store)
    result = replace(result, probabilities=np.full(10, 0.1))
    assert [p.index for p in result.predictions(10)] == list(range(10))


def test_result_has_the_documented_json_fields(photos: dict[str, bytes], store: ModelStore) -> None:
    result = classify(photos["cat"], MINI_VGG, store, file="cat.jpg").to_dict(3)
    assert list(result) == [
        "file", "sha256", "model", "weights", "precision", "resize", "predictions", "seconds",
    ]  # fmt: skip
    assert list(result["weights"]) == ["file", "sha256", "verified"]
    assert list(result["predictions"][0]) == ["rank", "index", "wnid", "label", "probability"]
    assert list(result["seconds"]) == ["decode", "prepare", "inference"]
    assert len(result["predictions"]) == 3
    assert all(seconds > 0 for seconds in result["seconds"].values())


def test_probabilities_are_read_only(photos: dict[str, bytes], store: ModelStore) -> None:
    with pytest.raises(ValueError, match="read-only"):
        classify(photos["cat"], MINI_VGG, store).probabilities[0] = 1


def test_invalid_photo_fails_before_a_model_is_loaded() -> None:
    store = ModelStore(Settings(cache_dir=Path("nowhere"), offline=True))
    with pytest.raises(NotAnImageError):
        classify(b"text", get_spec("vgg16"), store)
    with pytest.raises(WeightsMissingError, match="VGG16"):
        classify(Path("vgg_demo/data/examples/cat.jpg").read_bytes(), get_spec("vgg16"), store)


def test_ten_simultaneous_visitors_load_the_model_once(
    photos: dict[str, bytes], monkeypatch
) -> None:
    import vgg_demo.inference.engine

    loads = []
    load = vgg_demo.inference.engine.load_engine
    monkeypatch.setattr(
        vgg_demo.inference.engine, "load_engine", lambda *args: loads.append(1) or load(*args)
    )
    store = ModelStore(Settings(offline=True))
    labels: list[str] = []

    def visit() -> None:
        labels.append(classify(photos["dog"], MINI_VGG, store).predictions(1)[0].label)

    threads = [threading.Thread(target=visit) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert labels == ["dog"] * 10
    assert len(loads) == 1


def test_loaded_model_is_available_while_another_one_downloads(
    photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    downloading, resume = threading.Event(), threading.Event()
    ensure_weights = vgg_demo.inference.model_store.ensure_weights

    def ensure_weights_slowly(spec, *rest):
        if spec.name == "vgg16":
            downloading.set()
            resume.wait(60)
        return ensure_weights(spec, *rest)

    store = ModelStore(Settings(cache_dir=Path("nowhere"), offline=True))
    with store.use(MINI_VGG):
        pass
    monkeypatch.setattr(vgg_demo.inference.model_store, "ensure_weights", ensure_weights_slowly)

    def use_vgg16() -> None:
        with pytest.raises(WeightsMissingError), store.use(get_spec("vgg16")):
            pass

    thread = threading.Thread(target=use_vgg16)
    thread.start()
    assert downloading.wait(10)
    assert classify(photos["cat"], MINI_VGG, store).predictions(1)[0].label == "cat"
    resume.set()
    thread.join()


def test_verdict_on_an_example_photo_is_sure(photos: dict[str, bytes], store: ModelStore) -> None:
    verdict = interpret(classify(photos["cat"], MINI_VGG, store))
    assert verdict.winner.label == "cat"
    assert verdict.group is not None
    assert verdict.group.label == "cat"
    assert verdict.certainty.is_sure


def test_annotation_is_drawn_and_has_no_metadata(
    photos: dict[str, bytes], store: ModelStore, encode
) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    data = encode(Image.open(io.BytesIO(photos["dog"])), "JPEG", exif=exif.tobytes())
    result = classify(data, MINI_VGG, store)
    image = decode(data)
    annotated = annotate(image, result)
    assert annotated.size == image.size
    changed = np.asarray(annotated) != np.asarray(image)
    assert changed[-30:].any()
    assert not changed[: image.height // 2].any()
    png = Image.open(io.BytesIO(to_png(annotated)))
    assert png.format == "PNG"
    assert not png.getexif()
    assert not png.info


@pytest.mark.parametrize("size", [(16, 16), (40, 2000), (2000, 40), (5000, 3000)])
def test_photos_of_any_shape_can_be_annotated(
    size: tuple[int, int], photos: dict[str, bytes], store: ModelStore
) -> None:
    result = classify(photos["cat"], MINI_VGG, store)
    annotated = annotate(Image.new("RGB", size), result)
    assert max(annotated.size) <= MAX_SIDE
    assert max(maximum for _, maximum in annotated.convert("RGB").getextrema()) > 200  # white text


def test_annotation_marks_unverified_weights(photos: dict[str, bytes], store: ModelStore) -> None:
    result = classify(photos["cat"], MINI_VGG, store)
    unverified = replace(result, weights=replace(result.weights, verified=False))
    image = decode(photos["cat"])
    assert annotate(image, result).tobytes() != annotate(image, unverified).tobytes()


def test_non_finite_output_is_reported_as_corrupt_weights(
    store: ModelStore, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finite weights can have products that overflow."""
    with store.use(MINI_VGG) as model:
        not_finite = np.full((1, 10), np.nan, np.float32)
        monkeypatch.setattr(model.engine, "logits", lambda _: not_finite)
        prepared = prepare_photo(open_photo(photos["cat"]), MINI_VGG, Resize.CROP)
        with pytest.raises(WeightsCorruptError, match="is not finite"):
            classify_prepared(prepared, model)
