"""Writes the facts about every Keras Applications model from the installed Keras to a CSV file.

    python tools/make_model_facts.py [vgg_demo/data/models.csv]

All facts are read from Keras. `get_file` is replaced while a model is built with
``weights="imagenet"``, so the file name, URL and hash are the ones that Keras itself uses. Input
size, parameters and layers are those of the model that Keras builds. Keras does not contain the
published accuracies; they are copied from the existing file (their source is documented in
`vgg_demo.models.registry`).
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
    "backbone_parameters", "backbone_features", "backbone_file", "backbone_url", "backbone_hash",
    "top1", "top5",
)  # fmt: skip


class DownloadIntercepted(Exception):  # noqa: N818
    """Contains the arguments of a download that Keras was about to start."""


def snake_case(keras_name: str) -> str:
    """Converts the name of a Keras class to the name of the model in this project.

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
    """Returns the module that defines a model and its `preprocess_input`."""
    return sys.modules[getattr(keras.applications, name).__module__]


def weight_file(name: str, *, include_top: bool) -> tuple[str, str, str]:
    """Returns (file name, URL, hash) of a model's ImageNet weights.

    Args:
        name: Name of the Keras class.
        include_top: Whether to return the weights of the full model or of the backbone.
    """

    def intercept(fname: str, origin: str, file_hash: str = "", **_: Any) -> None:
        raise DownloadIntercepted(fname, origin, file_hash)

    original = file_utils.get_file
    file_utils.get_file = intercept
    try:
        with keras.StatelessScope(initialize_variables=False):
            # A backbone accepts images of any size and warns if the size is not specified.
            size = {} if include_top else {"input_shape": (224, 224, 3)}
            if name.startswith("NASNetLarge") and not include_top:
                size = {"input_shape": (331, 331, 3)}
            getattr(keras.applications, name)(weights="imagenet", include_top=include_top, **size)
    except DownloadIntercepted as download:
        return download.args
    finally:
        file_utils.get_file = original
    raise RuntimeError(f"{name} did not download a weight file")


def preprocessing_of(module: ModuleType) -> str:
    """Determines the mode of a module's `preprocess_input` from its effect on one pixel."""
    pixel = np.array([[[[10.0, 100.0, 200.0]]]], dtype=np.float32)
    result = np.asarray(module.preprocess_input(pixel.copy()))
    if np.array_equal(result, pixel):
        return "none"
    for mode in ("caffe", "tf", "torch"):
        expected = keras.applications.imagenet_utils.preprocess_input(pixel.copy(), mode=mode)
        if np.array_equal(result, expected):
            return mode
    raise RuntimeError(f"{module.__name__} has an unknown preprocessing mode")


def cam_layer(model: keras.Model) -> str:
    """Returns the name of the last operation whose output has spatial dimensions.

    Not every operation is a layer: ConvNeXt ends its blocks with an addition.
    """
    for operation in reversed(model.operations):
        shape = operation.output.shape
        if len(shape) == 4 and shape[1] > 1 and shape[2] > 1:
            return operation.name
    raise RuntimeError(f"{model.name} has no output with spatial dimensions")


def facts(name: str) -> dict[str, Any]:
    # Without weights, MobileNetV3 has no fixed input size; its weights are for 224.
    size = {"input_shape": (224, 224, 3)} if name.startswith("MobileNetV3") else {}
    with keras.StatelessScope(initialize_variables=False):
        model = getattr(keras.applications, name)(weights=None, **size)
        backbone = getattr(keras.applications, name)(
            weights=None, include_top=False, input_shape=model.input_shape[1:]
        )
    module = module_of(name)
    file, url, file_hash = weight_file(name, include_top=True)
    backbone_file, backbone_url, backbone_hash = weight_file(name, include_top=False)
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
        "backbone_parameters": backbone.count_params(),
        "backbone_features": backbone.output_shape[-1],
        "backbone_file": backbone_file,
        "backbone_url": backbone_url,
        "backbone_hash": backbone_hash,
    }


def facts_in_fresh_thread(name: str) -> dict[str, Any]:
    """Reads the facts in a new thread, so that Keras numbers unnamed layers from the start."""
    result: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: result.update(facts(name)))
    thread.start()
    thread.join()
    return result


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
            accuracy = published.get(name, {})
            writer.writerow({**row, "top1": accuracy.get("top1"), "top5": accuracy.get("top5")})


if __name__ == "__main__":
    main()
