"""Training settings: model name, backbone, feature layer and recipe."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from vgg_demo.errors import FeatureLayerError
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.models.registry import (
    DENSE_FAMILIES,
    EMBEDDED_MODEL,
    MODELS,
    ModelSpec,
    backbone_spec,
)
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.trainer import choose_feature_extractor
from vgg_demo.ui.session import available_models, caches

DEFAULT_BACKBONE = "mobilenet_v2"
FINE_TUNING_EPOCHS = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """A planned training run.

    Attributes:
        name: Name of the new model.
        backbone: The pretrained model on which the new model is based.
        feature_layer: The layer of the backbone whose output the new classifier is trained on.
        recipe: Hyperparameters.
    """

    name: str
    backbone: ModelSpec
    feature_layer: FeatureLayer
    recipe: Recipe


def choose_plan(title: str) -> Plan:
    """Shows the training settings, each with a suitable default."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Model name", value=title or "my model", max_chars=40, key="train_name"
        )
        backbone = choose_backbone()
    feature_layer = choose_feature_layer(backbone)
    fine_tune = st.toggle(
        "Fine-tune the last blocks",
        key="train_fine_tune",
        persist_state="page",
        help="By default, only a new output layer is trained, which takes seconds. Fine-tuning "
        "then also trains the last blocks of the backbone at a low learning rate. It takes a "
        "minute or more. With a few hundred photos, it may add about one percentage point.",
    )
    return Plan(name, backbone, feature_layer, choose_recipe(fine_tune))


def choose_feature_layer(backbone: ModelSpec) -> FeatureLayer:
    if backbone.module not in DENSE_FAMILIES or not is_backbone_available(
        backbone, FeatureLayer.PENULTIMATE
    ):
        return FeatureLayer.GLOBAL_POOLING
    labels = {
        FeatureLayer.GLOBAL_POOLING: "Global pooling",
        FeatureLayer.PENULTIMATE: "Penultimate layer",
    }
    chosen = st.segmented_control(
        f"Feature layer of {backbone.keras_name}",
        list(labels),
        default=FeatureLayer.GLOBAL_POOLING,
        required=True,
        format_func=lambda feature_layer: labels[feature_layer],
        key="train_feature_layer",
        persist_state="page",
        help="Global pooling comes before the dense layers. The penultimate layer comes after "
        "them, so only the output layer is replaced, the way VGG16 was first adapted to other "
        "tasks. The dense layers take 480 MB.",
    )
    return chosen or FeatureLayer.GLOBAL_POOLING


def show_command(plan: Plan) -> None:
    """Shows the command that trains the same model."""
    with st.popover("Code", icon=":material/code:"):
        st.markdown("Train the same model on the command line:")
        st.code(as_command(plan), language="bash", wrap_lines=True)
        st.caption("`photos/` contains one folder per class. To use a label table, add `--labels`.")


def as_command(plan: Plan) -> str:
    """Returns a shell command with all options that differ from the defaults."""
    recipe, default = plan.recipe, Recipe()
    options = {
        "--feature-layer": (plan.feature_layer.value, FeatureLayer.GLOBAL_POOLING.value),
        "--views": (recipe.views, default.views),
        "--epochs": (recipe.epochs, default.epochs),
        "--learning-rate": (recipe.learning_rate, default.learning_rate),
        "--dropout": (recipe.dropout, default.dropout),
        "--label-smoothing": (recipe.label_smoothing, default.label_smoothing),
        "--mixup": (recipe.mixup, default.mixup),
        "--validation-fraction": (recipe.validation_fraction, default.validation_fraction),
        "--fine-tune": (recipe.fine_tuning_epochs, default.fine_tuning_epochs),
        "--seed": (recipe.seed, default.seed),
    }
    words = ["vgg-demo", "train", "photos/"]
    words += ["--backbone", plan.backbone.name, "--out", f"{plan.name}.bundle"]
    for option, (value, default_value) in options.items():
        if value != default_value:
            words += [option, str(value)]
    if recipe.class_weights != default.class_weights:
        words.append("--no-class-weights")
    return shlex.join(words)


def choose_backbone() -> ModelSpec:
    """Shows the models that can be a backbone, installed ones first."""
    offline = caches.get_settings().offline
    names = [
        name
        for name in MODELS
        if not offline or is_backbone_available(MODELS[name], FeatureLayer.GLOBAL_POOLING)
    ]
    names.sort(
        key=lambda name: (
            not is_backbone_available(MODELS[name], FeatureLayer.GLOBAL_POOLING),
            name == EMBEDDED_MODEL,
        )
    )

    def describe(name: str) -> str:
        spec = MODELS[name]
        if spec.is_embedded:
            size = spec.input_size
            return f"{spec.keras_name} · included, {size} × {size} pixel input"
        if is_backbone_available(spec, FeatureLayer.GLOBAL_POOLING):
            return f"{spec.keras_name} · installed"
        size_bytes = backbone_spec(spec).weights.size_bytes
        return f"{spec.keras_name} · {size_bytes / 1e6:,.0f} MB download"

    name = st.selectbox(
        "Backbone",
        names,
        index=names.index(DEFAULT_BACKBONE) if DEFAULT_BACKBONE in names else 0,
        format_func=describe,
        key="train_backbone",
        persist_state="page",
        help="A pretrained model. The new classifier is trained on the features that it extracts "
        "from your photos.",
    )
    return MODELS[name]


def is_backbone_available(spec: ModelSpec, feature_layer: FeatureLayer) -> bool:
    """Whether the weights of the feature extractor are available locally."""
    try:
        return available_models.is_available(
            choose_feature_extractor(spec, feature_layer, caches.get_settings())
        )
    except FeatureLayerError:
        return False


PERSIST: Any = {"persist_state": "page"}
"""Widget option that keeps a setting while the visitor views results, for the next run."""


def choose_recipe(fine_tune: bool) -> Recipe:
    """Shows the hyperparameters. Returns the chosen recipe."""
    with st.expander("More settings", icon=":material/tune:"):
        data, regularization, optimization = st.columns(3, gap="medium")
        with data:
            recipe = choose_epochs_and_data(Recipe())
        with regularization:
            recipe = choose_regularization(recipe)
        with optimization:
            recipe = choose_fine_tuning(recipe, fine_tune)
            return choose_seed(choose_learning_rate(recipe))


def choose_epochs_and_data(recipe: Recipe) -> Recipe:
    epochs = st.number_input(
        "Epochs",
        1,
        100,
        recipe.epochs,
        help="Maximum number of passes through the training photos. Training ends early if the "
        "validation loss stops improving.",
        key="train_epochs",
        **PERSIST,
    )
    views = st.slider(
        "Augmented views per photo",
        1,
        8,
        recipe.views,
        help="The original, its mirror image, and random crops. To see them, open “Photos by "
        "class” and select “Augmented views”.",
        key="train_views",
        **PERSIST,
    )
    validation = st.slider(
        "Held-out photos (%)",
        10,
        50,
        round(100 * recipe.validation_fraction),
        5,
        help="Percentage of the photos in the validation set.",
        key="train_validation",
        **PERSIST,
    )
    return replace(recipe, epochs=epochs, views=views, validation_fraction=validation / 100)


def choose_regularization(recipe: Recipe) -> Recipe:
    smoothing = st.slider(
        "Label smoothing",
        0.0,
        0.3,
        recipe.label_smoothing,
        0.05,
        help="Fraction of each target that is spread over all classes. Makes the model less "
        "overconfident.",
        key="train_label_smoothing",
        **PERSIST,
    )
    mixup = st.slider(
        "Mixup",
        0.0,
        1.0,
        recipe.mixup,
        0.1,
        help="Trains on blends of two photos and their labels; 0 turns it off. Reduces "
        "overfitting.",
        key="train_mixup",
        **PERSIST,
    )
    dropout = st.slider(
        "Dropout",
        0.0,
        0.8,
        recipe.dropout,
        0.1,
        help="Fraction of the features that are set to zero at random in each training step. "
        "Reduces overfitting.",
        key="train_dropout",
        **PERSIST,
    )
    return replace(recipe, label_smoothing=smoothing, mixup=mixup, dropout=dropout)


def choose_fine_tuning(recipe: Recipe, fine_tune: bool) -> Recipe:
    """Shows the number of fine-tuning epochs and the class weights."""
    fine_tuning_epochs = st.number_input(
        "Fine-tuning epochs",
        1,
        20,
        FINE_TUNING_EPOCHS,
        disabled=not fine_tune,
        key="train_fine_tuning_epochs",
        **PERSIST,
    )
    class_weights = st.toggle(
        "Class weights",
        recipe.class_weights,
        help="Weights the loss so that rare classes count as much as frequent ones.",
        key="train_class_weights",
        **PERSIST,
    )
    return replace(
        recipe,
        fine_tuning_epochs=fine_tuning_epochs if fine_tune else 0,
        class_weights=class_weights,
    )


def choose_learning_rate(recipe: Recipe) -> Recipe:
    is_manual = st.toggle(
        "Set the learning rate",
        help="If this is off, a learning-rate range test finds it.",
        key="train_manual_rate",
        **PERSIST,
    )
    learning_rate = st.number_input(
        "Learning rate",
        1e-6,
        1.0,
        1e-3,
        format="%.6f",
        help="The highest learning rate of the one-cycle schedule.",
        disabled=not is_manual,
        key="train_rate",
        **PERSIST,
    )
    return replace(recipe, learning_rate=learning_rate if is_manual else None)


def choose_seed(recipe: Recipe) -> Recipe:
    seed = st.number_input(
        "Seed",
        0,
        2**31,
        recipe.seed,
        help="The same seed gives the same model on the same machine. Another seed changes the "
        "validation split and the random initialization.",
        key="train_seed",
        **PERSIST,
    )
    return replace(recipe, seed=seed)
