"""Reads the facts of every Keras Applications model from the installed Keras.

    python tools/make_model_facts.py [vgg_demo/data/models.csv]

Keras is asked, not remembered: `get_file` is replaced while a model is built with
``weights="imagenet"``, so the file name, URL and hash are the ones Keras itself would
use; the input size, parameters and layers are those of the model it builds. The
published accuracies cannot be read from Keras and are carried over from the present
file (their source is in `vgg_demo.models.registry`).
"""

from __future__ import annotations

import csv
import inspect
import re
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras.src.utils import file_utils

COLUMNS = (
    "name", "keras_name", "module", "input_size", "preprocessing", "parameters", "cam_layer",
    "weights_file", "weights_url", "weights_hash",
    "body_parameters", "body_features", "body_file", "body_url", "body_hash", "top1", "top5",
)  # fmt: skip


class WeightsAskedFor(Exception):  # noqa: N818
    """Carries what Keras was about to download."""


def snake_case(keras_name: str) -> str:
    """Turns a Keras class name into the project's name for the model.

    >>> [snake_case(name) for name in ("VGG16", "MobileNetV2", "EfficientNetV2B0")]
    ['vgg16', 'mobilenet_v2', 'efficientnet_v2_b0']
    >>> [snake_case(name) for name in ("ResNet50V2", "InceptionResNetV2", "NASNetLarge")]
    ['resnet50_v2', 'inception_resnet_v2', 'nasnet_large']
    >>> [snake_case(name) for name in ("EfficientNetB7", "ConvNeXtXLarge", "DenseNet121")]
    ['efficientnet_b7', 'convnext_xlarge', 'densenet121']
    """
    family = re.sub(r"(Net|NeXt)", lambda match: match[0].lower(), keras_name)
    family = family.replace("VGG", "vgg").replace("NASnet", "nasnet").replace("XLarge", "Xlarge")
    words = re.findall(r"V\d|B\d|[A-Z]?[a-z]+\d*|[A-Z](?![a-z])", family)
    return "_".join(words).lower()


def application_classes() -> dict[str, Any]:
    return {
        name: value for name, value in vars(keras.applications).items() if inspect.isfunction(value)
    }


def module_of(name: str) -> ModuleType:
    """Returns the module that defines a model, and so its own `preprocess_input`."""
    return sys.modules[getattr(keras.applications, name).__module__]


def asked_for(name: str, *, include_top: bool) -> tuple[str, str, str]:
    """Returns (file name, URL, hash) of a model's ImageNet weights, or of those of its body."""

    def intercept(fname: str, origin: str, file_hash: str = "", **_: Any) -> None:
        raise WeightsAskedFor(fname, origin, file_hash)

    original = file_utils.get_file
    file_utils.get_file = intercept
    try:
        with keras.StatelessScope(initialize_variables=False):
            # Without its top, a model takes pictures of any size and warns if it is not told one.
            size = {} if include_top else {"input_shape": (224, 224, 3)}
            if name.startswith("NASNetLarge") and not include_top:
                size = {"input_shape": (331, 331, 3)}
            getattr(keras.applications, name)(weights="imagenet", include_top=include_top, **size)
    except WeightsAskedFor as asked:
        return asked.args
    finally:
        file_utils.get_file = original
    raise RuntimeError(f"{name} did not ask for a weights file")


def preprocessing_of(module: ModuleType) -> str:
    """Names the mode of a module's `preprocess_input` by what it does to one pixel."""
    pixel = np.array([[[[10.0, 100.0, 200.0]]]], dtype=np.float32)
    result = np.asarray(module.preprocess_input(pixel.copy()))
    if np.array_equal(result, pixel):
        return "none"
    for mode in ("caffe", "tf", "torch"):
        expected = keras.applications.imagenet_utils.preprocess_input(pixel.copy(), mode=mode)
        if np.array_equal(result, expected):
            return mode
    raise RuntimeError(f"{module.__name__} preprocesses in a way not known here")


def cam_layer(model: keras.Model) -> str:
    """Returns the last operation whose output still has spatial extent.

    Not every operation is a layer: ConvNeXt ends its blocks with a plain sum.
    """
    for operation in reversed(model.operations):
        shape = operation.output.shape
        if len(shape) == 4 and shape[1] > 1 and shape[2] > 1:
            return operation.name
    raise RuntimeError(f"{model.name} has nothing with spatial extent")


def facts(name: str) -> dict[str, Any]:
    # Without weights, MobileNetV3 leaves its size open; its weights are for 224.
    size = {"input_shape": (224, 224, 3)} if name.startswith("MobileNetV3") else {}
    with keras.StatelessScope(initialize_variables=False):
        model = getattr(keras.applications, name)(weights=None, **size)
        body = getattr(keras.applications, name)(
            weights=None, include_top=False, input_shape=model.input_shape[1:]
        )
    module = module_of(name)
    file, url, file_hash = asked_for(name, include_top=True)
    body_file, body_url, body_hash = asked_for(name, include_top=False)
    return {
        "name": snake_case(name),
        "keras_name": name,
        "module": module.__name__.rsplit(".", 1)[-1],
        "input_size": model.input_shape[1],
        "preprocessing": preprocessing_of(module),
        "parameters": model.count_params(),
        "cam_layer": cam_layer(model),
        "weights_file": file,
        "weights_url": url,
        "weights_hash": file_hash,
        "body_parameters": body.count_params(),
        "body_features": body.output_shape[-1],
        "body_file": body_file,
        "body_url": body_url,
        "body_hash": body_hash,
    }


def facts_in_fresh_thread(name: str) -> dict[str, Any]:
    """Keras numbers unnamed layers per thread: a new one names them as a new process does."""
    found: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: found.update(facts(name)))
    thread.start()
    thread.join()
    return found


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "vgg_demo/data/models.csv")
    published = {}
    if path.exists():
        with path.open(newline="") as file:
            published = {row["keras_name"]: row for row in csv.DictReader(file)}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for name in sorted(application_classes()):
            row = facts_in_fresh_thread(name)
            known = published.get(name, {})
            writer.writerow({**row, "top1": known.get("top1"), "top5": known.get("top5")})


if __name__ == "__main__":
    main()
