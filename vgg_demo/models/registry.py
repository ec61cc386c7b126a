"""Every model and its recipe, as one read-only table.

A `ModelSpec` binds what belongs together: the architecture, the weight file, the input
size and the preprocessing. Nothing in the program can pair one model with another
model's preprocessing, because the two are never passed apart.

The facts of the 40 Keras models are in ``data/models.csv``, which
``tools/make_model_facts.py`` reads from Keras itself.
"""

from __future__ import annotations

import csv
import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from types import MappingProxyType
from typing import Literal

from vgg_demo.errors import FeatureLayerError, UnknownModelError
from vgg_demo.models.custom import CustomModel, FeatureLayer
from vgg_demo.models.labels import ClassLabel, LabelSet, load_labels

Preprocessing = Literal["caffe", "tf", "torch", "none"]
"""How pixels become input, in the words of `keras.applications.imagenet_utils`:

* ``caffe``: BGR, minus the mean pixel of ImageNet, not scaled;
* ``tf``: scaled to [-1, 1];
* ``torch``: scaled to [0, 1], then standardised by ImageNet's mean and deviation;
* ``none``: pixels as they are; the model scales them itself.
"""

KERAS_DOCUMENTATION = "https://keras.io/api/applications/"
MOBILENET_V3_DOCUMENTATION = "https://keras.io/api/applications/mobilenet/"
IMAGENET_CROP_FRACTION = 224 / 256
"""Side of the centre crop over the scaled short side, as in the published evaluations."""

MINI_VGG_FEATURES, MINI_VGG_CLASSES = 256, 10

DENSE_FAMILIES = ("vgg16", "vgg19")
"""Modules of the models whose top is more than one layer: two of 4096, and the last."""

DENSE_FEATURES = 4096

DEFAULT_MODEL = "vgg16"
EMBEDDED_MODEL = "mini_vgg"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """Where the official weights are, and how to know them.

    Attributes:
        name: File name, the one that Keras uses in its own cache.
        url: Where it is downloaded from; empty for the file that the package carries.
        hash: Published MD5 (32 hex digits) or SHA-256 (64) of the whole file; empty for
            MobileNet and MobileNetV2, of which Keras publishes none.
        size_bytes: Size of the float32 values in it; the file is up to 14 % larger.
    """

    name: str
    url: str
    hash: str
    size_bytes: int

    @property
    def hash_algorithm(self) -> Literal["md5", "sha256"]:
        return "md5" if len(self.hash) == 32 else "sha256"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Published accuracy in percent, each with one crop per image.

    Attributes:
        top1: Percent of test images whose first answer is right.
        top5: Percent whose first five answers hold the right one; None if not published.
        test_set: What it was measured on.
        source: Where the figures are published.
    """

    top1: float
    top5: float | None
    test_set: str
    source: str


@dataclass(frozen=True, slots=True)
class Backbone:
    """A model without its top.

    Attributes:
        parameters: Number of weights.
        features: Channels of the last feature map.
        weights: The official file that holds them alone.
    """

    parameters: int
    features: int
    weights: WeightFile


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Everything about one model.

    Attributes:
        name: Name in URLs, on the command line and in results: snake case.
        keras_name: Name of the function in `keras.applications`; for the embedded model,
            the name people see.
        module: Module of `keras.applications` that the model and its preprocessing are
            from; empty for the embedded model.
        labels: Which label set the outputs follow; that of a taught model is its own.
        input_size: Height and width of the input in pixels.
        preprocessing: How pixels become input.
        crop_fraction: Side of the centre crop over the scaled short side, in (0, 1].
        parameters: Number of weights, trained or not.
        cam_layer: Name of the last layer or other operation whose output has spatial extent.
        weights: The official weight file.
        accuracy: Published accuracy, where a source is at hand.
        backbone: What there is to know of the model without its top; None if it has none of its own.
        feature_layer: How much of the network this is; of the models that answer, all.
        custom: What it was taught, if it is no model of Keras but one that somebody made here.
    """

    name: str
    keras_name: str
    module: str
    labels: LabelSet
    input_size: int
    preprocessing: Preprocessing
    crop_fraction: float
    parameters: int
    cam_layer: str
    weights: WeightFile
    accuracy: Accuracy | None
    backbone: Backbone | None = None
    feature_layer: FeatureLayer = FeatureLayer.OUTPUT
    custom: CustomModel | None = None

    @property
    def classes(self) -> tuple[ClassLabel, ...]:
        """What the outputs stand for, in their order."""
        if self.custom is not None:
            return self.custom.classes
        return load_labels(self.labels)

    @property
    def is_embedded(self) -> bool:
        """Whether the package carries the weights, so that nothing is downloaded."""
        return self.name.partition("/")[0] == EMBEDDED_MODEL


def _read_mini_vgg() -> ModelSpec:
    """Makes the spec of the embedded model from the report of its training."""
    report = json.loads(files("vgg_demo").joinpath("data/mini_vgg.json").read_text("utf-8"))
    weights = WeightFile(
        name="mini_vgg.h5", url="", hash=report["sha256"], size_bytes=report["size_bytes"]
    )
    return ModelSpec(
        name=EMBEDDED_MODEL,
        keras_name="Mini-VGG",
        module="",
        labels="cifar10",
        input_size=32,
        preprocessing="tf",
        crop_fraction=1.0,
        parameters=report["parameters"],
        cam_layer="mirror_mean",
        weights=weights,
        accuracy=Accuracy(
            top1=round(100 * report["accuracy"], 1),
            top5=None,
            test_set="CIFAR-10 test images",
            source="data/mini_vgg.md",
        ),
        backbone=Backbone(
            # Its last layer is dense, from 256 features to 10 classes.
            parameters=report["parameters"] - (MINI_VGG_FEATURES + 1) * MINI_VGG_CLASSES,
            features=MINI_VGG_FEATURES,
            weights=weights,
        ),
    )


def _read_models() -> Mapping[str, ModelSpec]:
    text = files("vgg_demo").joinpath("data/models.csv").read_text(encoding="utf-8")
    specs = [_spec_from_row(row) for row in csv.DictReader(text.splitlines())]
    return MappingProxyType({spec.name: spec for spec in (_read_mini_vgg(), *specs)})


def _spec_from_row(row: Mapping[str, str]) -> ModelSpec:
    return ModelSpec(
        name=row["name"],
        keras_name=row["keras_name"],
        module=row["module"],
        labels="imagenet",
        input_size=int(row["input_size"]),
        preprocessing=row["preprocessing"],  # type: ignore[arg-type]  # checked by the tests
        crop_fraction=IMAGENET_CROP_FRACTION,
        parameters=int(row["parameters"]),
        cam_layer=row["cam_layer"],
        weights=WeightFile(
            name=row["weights_file"],
            url=row["weights_url"],
            hash=row["weights_hash"],
            size_bytes=4 * int(row["parameters"]),
        ),
        accuracy=_published_accuracy(row),
        backbone=Backbone(
            parameters=int(row["body_parameters"]),
            features=int(row["body_features"]),
            weights=WeightFile(
                name=row["body_file"],
                url=row["body_url"],
                hash=row["body_hash"],
                size_bytes=4 * int(row["body_parameters"]),
            ),
        ),
    )


def _published_accuracy(row: Mapping[str, str]) -> Accuracy | None:
    if not row["top1"]:
        return None
    is_v3 = row["module"] == "mobilenet_v3"
    return Accuracy(
        top1=float(row["top1"]),
        top5=float(row["top5"]) if row["top5"] else None,
        test_set="ImageNet validation images",
        source=MOBILENET_V3_DOCUMENTATION if is_v3 else KERAS_DOCUMENTATION,
    )


def backbone_spec(
    spec: ModelSpec, feature_layer: FeatureLayer = FeatureLayer.GLOBAL_POOLING
) -> ModelSpec:
    """Returns what looks at photos for the models that are taught on a model's shoulders.

    Raises:
        FeatureLayerError: If the model has none.
    """
    name = f"{spec.name}/{feature_layer}"
    if feature_layer is FeatureLayer.GLOBAL_POOLING and spec.backbone is not None:
        parameters, weights = spec.backbone.parameters, spec.backbone.weights
        return replace(
            spec, name=name, feature_layer=feature_layer, parameters=parameters, weights=weights
        )
    if feature_layer is FeatureLayer.PENULTIMATE and spec.module in DENSE_FAMILIES:
        last = (feature_count(spec, feature_layer) + 1) * len(spec.classes)
        return replace(
            spec, name=name, feature_layer=feature_layer, parameters=spec.parameters - last
        )
    raise FeatureLayerError(
        f"{spec.keras_name} has no part {feature_layer} to build on; choose {FeatureLayer.GLOBAL_POOLING}, or VGG16 or VGG19."
    )


def feature_count(spec: ModelSpec, feature_layer: FeatureLayer) -> int:
    """Returns how many numbers a part of a model says of a photo."""
    if feature_layer is FeatureLayer.PENULTIMATE:
        return DENSE_FEATURES
    return spec.backbone.features if spec.backbone is not None else 0


MODELS: Mapping[str, ModelSpec] = _read_models()
"""Every model by name: the embedded one first, then Keras's in alphabetical order."""

MODEL_SETS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Five classics": ("vgg16", "vgg19", "resnet50", "inception_v3", "xception"),
        "Small and fast": (
            "mobilenet_v3_small",
            "mobilenet_v2",
            "mobilenet",
            "nasnet_mobile",
            "efficientnet_b0",
        ),
        "Newest": (
            "efficientnet_v2_b0",
            "efficientnet_v2_s",
            "convnext_tiny",
            "convnext_small",
            "convnext_base",
        ),
    }
)
"""Models that are interesting to compare: those of the classic tutorials; those of the fewest
parameters; some of the two families whose papers are the youngest (2021 and 2022)."""


def get_spec(name: str) -> ModelSpec:
    """Returns the spec of a model.

    Args:
        name: Name of a model, or the name of its Keras class, in any case.

    Raises:
        UnknownModelError: If there is none; the message names the nearest matches.
    """
    wanted = name.strip().lower()
    for spec in MODELS.values():
        if wanted in (spec.name, spec.keras_name.lower()):
            return spec
    raise UnknownModelError(name, difflib.get_close_matches(wanted, list(MODELS), n=3, cutoff=0.5))
