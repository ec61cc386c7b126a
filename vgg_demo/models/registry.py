"""The registry: a read-only table of all pretrained models.

A `ModelSpec` combines architecture, weight file, input size and preprocessing. They are never
passed separately, so a model cannot be used with the preprocessing of another one.

The data of the 40 Keras models is in ``data/models.csv``, which ``tools/make_model_facts.py``
generates from Keras.
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
"""Normalization of pixels, as named in `keras.applications.imagenet_utils`:

* ``caffe``: BGR, minus ImageNet's mean, not scaled;
* ``tf``: scaled to [-1, 1];
* ``torch``: scaled to [0, 1], then standardized with ImageNet's mean and standard deviation;
* ``none``: unchanged; the model contains its own normalization layer.
"""

KERAS_DOCUMENTATION = "https://keras.io/api/applications/"
MOBILENET_V3_DOCUMENTATION = "https://keras.io/api/applications/mobilenet/"
IMAGENET_CROP_FRACTION = 224 / 256
"""Side of the center crop over the scaled short side, as in the published evaluations."""

MINI_VGG_FEATURES, MINI_VGG_CLASSES = 256, 10

DENSE_FAMILIES = ("vgg16", "vgg19")
"""Modules of the models whose top has three dense layers: two with 4096 units, and the output."""

DENSE_FEATURES = 4096
"""Units of the penultimate layer in `DENSE_FAMILIES`."""

DEFAULT_MODEL = "vgg16"
EMBEDDED_MODEL = "mini_vgg"


@dataclass(frozen=True, slots=True)
class WeightFile:
    """An official weight file.

    Attributes:
        name: File name, as in Keras's cache.
        url: Download address; empty for the file that the package includes.
        hash: Published MD5 (32 hex digits) or SHA-256 (64) of the whole file; empty for
            MobileNet and MobileNetV2, for which Keras publishes none.
        size_bytes: Size of the float32 values; the file is up to 14% larger.
    """

    name: str
    url: str
    hash: str
    size_bytes: int

    @property
    def hash_algorithm(self) -> Literal["md5", "sha256"]:
        """Algorithm of `hash`."""
        return "md5" if len(self.hash) == 32 else "sha256"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Published accuracy, measured with one crop per image.

    Attributes:
        top1: Top-1 accuracy in percent.
        top5: Top-5 accuracy in percent; None if not published.
        test_set: Name of the test images.
        source: URL or file of the publication.
    """

    top1: float
    top5: float | None
    test_set: str
    source: str


@dataclass(frozen=True, slots=True)
class Backbone:
    """A model without its top (``include_top=False``).

    Attributes:
        parameters: Number of parameters.
        features: Channels of the last feature map.
        weights: The official weight file without the top.
    """

    parameters: int
    features: int
    weights: WeightFile


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The specification of a model.

    Attributes:
        name: Name in URLs, on the command line and in results, in snake case.
        keras_name: Name of the function in `keras.applications`; the display name of the embedded
            model and of custom models.
        module: Module of `keras.applications` with the model and its preprocessing; empty for
            the embedded model.
        labels: Label set of the outputs; "custom" for a custom model.
        input_size: Height and width of the input in pixels.
        preprocessing: Normalization of the pixels.
        crop_fraction: Side of the center crop over the scaled short side, in (0, 1].
        parameters: Number of parameters, trainable or not.
        cam_layer: Name of the last layer or other operation whose output has spatial dimensions.
        weights: The weight file.
        accuracy: Published accuracy; None if none is published.
        backbone: The model without its top; None for a custom model.
        feature_layer: The layer at which the network ends; `FeatureLayer.OUTPUT` for a classifier.
        custom: Backbone, classes and calibration of a custom model; None for a pretrained model.
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
        """The classes, in the order of the outputs."""
        if self.custom is not None:
            return self.custom.classes
        return load_labels(self.labels)

    @property
    def is_embedded(self) -> bool:
        """Whether the package includes the weights."""
        return self.name.partition("/")[0] == EMBEDDED_MODEL


def _read_mini_vgg() -> ModelSpec:
    """Returns the spec of the embedded model, from the report of its training."""
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
            # Without the dense output layer, from 256 features to 10 classes.
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
            parameters=int(row["backbone_parameters"]),
            features=int(row["backbone_features"]),
            weights=WeightFile(
                name=row["backbone_file"],
                url=row["backbone_url"],
                hash=row["backbone_hash"],
                size_bytes=4 * int(row["backbone_parameters"]),
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
    """Returns the spec of a model's backbone, the feature extractor of custom models.

    Args:
        spec: The pretrained model.
        feature_layer: Layer that provides the features: global pooling or penultimate.

    Raises:
        FeatureLayerError: If the model does not have this feature layer.
    """
    name = f"{spec.name}/{feature_layer}"
    if feature_layer is FeatureLayer.GLOBAL_POOLING and spec.backbone is not None:
        parameters, weights = spec.backbone.parameters, spec.backbone.weights
        return replace(
            spec, name=name, feature_layer=feature_layer, parameters=parameters, weights=weights
        )
    if feature_layer is FeatureLayer.PENULTIMATE and spec.module in DENSE_FAMILIES:
        output_parameters = (feature_count(spec, feature_layer) + 1) * len(spec.classes)
        parameters = spec.parameters - output_parameters
        return replace(spec, name=name, feature_layer=feature_layer, parameters=parameters)
    raise FeatureLayerError(
        f"{spec.keras_name} has no feature layer {feature_layer}. "
        f"Choose {FeatureLayer.GLOBAL_POOLING}, or VGG16 or VGG19."
    )


def feature_count(spec: ModelSpec, feature_layer: FeatureLayer) -> int:
    """Returns the number of features of a feature layer; 0 if the model has no backbone."""
    if feature_layer is FeatureLayer.PENULTIMATE:
        return DENSE_FEATURES
    return spec.backbone.features if spec.backbone is not None else 0


MODELS: Mapping[str, ModelSpec] = _read_models()
"""All pretrained models by name: the embedded one, then the Keras models in alphabetical order."""

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
"""Sets of models to compare: those of the classic tutorials, those with the fewest parameters,
and members of the two newest families (papers of 2021 and 2022)."""


def get_spec(name: str) -> ModelSpec:
    """Returns the spec of a model.

    Args:
        name: Name of a model or of its Keras function; case and surrounding spaces are ignored.

    Raises:
        UnknownModelError: If there is no such model; the message names the nearest matches.
    """
    normalized = name.strip().lower()
    for spec in MODELS.values():
        if normalized in (spec.name, spec.keras_name.lower()):
            return spec
    raise UnknownModelError(
        name, difflib.get_close_matches(normalized, list(MODELS), n=3, cutoff=0.5)
    )
