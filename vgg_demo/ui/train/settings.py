"""How a model is taught: its name, on whose shoulders it stands, and the recipe."""

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

PREFERRED = "mobilenet_v2"
TUNING_EPOCHS = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be taught.

    Attributes:
        name: Of the model to be.
        backbone: On whose shoulders it stands.
        feature_layer: How much of that.
        recipe: How.
    """

    name: str
    backbone: ModelSpec
    feature_layer: FeatureLayer
    recipe: Recipe


def choose_plan(title: str) -> Plan:
    """Offers how to teach. All has a value that works."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Name of your model", value=title or "my model", max_chars=40, key="train_name"
        )
        backbone = choose_backbone()
    feature_layer = choose_part(backbone)
    tuned = st.toggle(
        "Let the end of the network learn, too",
        key="train_fine_tune",
        persist_state="page",
        help="First only a new last layer learns, which takes seconds. Then the last blocks of the "
        "network may learn as well, slowly (“fine-tuning”): some minutes, for one or two points "
        "more where there are some hundred photos.",
    )
    return Plan(name, backbone, feature_layer, choose_recipe(tuned))


def choose_part(backbone: ModelSpec) -> FeatureLayer:
    if backbone.module not in DENSE_FAMILIES or not is_backbone_available(
        backbone, FeatureLayer.PENULTIMATE
    ):
        return FeatureLayer.GLOBAL_POOLING
    words = {
        FeatureLayer.GLOBAL_POOLING: "What comes before its dense layers",
        FeatureLayer.PENULTIMATE: "All but its last layer",
    }
    chosen = st.segmented_control(
        f"How much of {backbone.keras_name}",
        list(words),
        default=FeatureLayer.GLOBAL_POOLING,
        required=True,
        format_func=lambda feature_layer: words[feature_layer],
        key="train_feature_layer",
        persist_state="page",
        help="To replace the last layer only is how VGG16 was first adapted to other things; its "
        "dense layers take 480 MB.",
    )
    return chosen or FeatureLayer.GLOBAL_POOLING


def show_command(plan: Plan) -> None:
    """Offers the same for the command line."""
    with st.popover("From code", icon=":material/code:"):
        st.markdown("The same on the command line, where VGG Demo is installed:")
        st.code(as_command(plan), language="bash", wrap_lines=True)
        st.caption("`photos/` holds a folder for each kind; `--csv` takes a table instead.")


def as_command(plan: Plan) -> str:
    """Returns a line for a shell, with what differs from the defaults."""
    recipe, default = plan.recipe, Recipe()
    options = {
        "--feature-layer": (plan.feature_layer.value, FeatureLayer.GLOBAL_POOLING.value),
        "--views": (recipe.views, default.views),
        "--epochs": (recipe.epochs, default.epochs),
        "--rate": (recipe.rate, default.rate),
        "--dropout": (recipe.dropout, default.dropout),
        "--label-smoothing": (recipe.label_smoothing, default.label_smoothing),
        "--mixup": (recipe.mixup, default.mixup),
        "--validation": (recipe.validation_share, default.validation_share),
        "--fine-tune": (recipe.tuning_epochs, default.tuning_epochs),
        "--seed": (recipe.seed, default.seed),
    }
    words = ["vgg-demo", "train", "photos/"]
    words += ["--backbone", plan.backbone.name, "--out", f"{plan.name}.bundle"]
    for option, (value, usual) in options.items():
        if value != usual:
            words += [option, str(value)]
    if recipe.balance != default.balance:
        words.append("--no-balance")
    return shlex.join(words)


def choose_backbone() -> ModelSpec:
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
            return (
                f"{spec.keras_name} – built in, sees {spec.input_size} × {spec.input_size} pixels"
            )
        if is_backbone_available(spec, FeatureLayer.GLOBAL_POOLING):
            return f"{spec.keras_name} – here"
        size_bytes = backbone_spec(spec).weights.size_bytes
        return f"{spec.keras_name} – {size_bytes / 1e6:,.0f} MB to download"

    name = st.selectbox(
        "Network to build on",
        names,
        index=names.index(PREFERRED) if PREFERRED in names else 0,
        format_func=describe,
        key="train_backbone",
        persist_state="page",
        help="It has learned to see from a million photos; what it says of yours is what the new "
        "model learns from.",
    )
    return MODELS[name]


def is_backbone_available(spec: ModelSpec, feature_layer: FeatureLayer) -> bool:
    """Whether what looks at photos is on this machine."""
    try:
        return available_models.is_available(
            choose_feature_extractor(spec, feature_layer, caches.get_settings())
        )
    except FeatureLayerError:
        return False


KEEP: Any = {"persist_state": "page"}
"""Settings last while the visitor looks at what came of them, to be changed for the next try."""


def choose_recipe(tuned: bool) -> Recipe:
    """Offers all that has a default."""
    with st.expander("More settings", icon=":material/tune:"):
        passes, doubts, others = st.columns(3, gap="medium")
        with passes:
            recipe = choose_passes(Recipe())
        with doubts:
            recipe = choose_doubts(recipe)
        with others:
            recipe = choose_tuning(recipe, tuned)
            return choose_chance(choose_rate(recipe))


def choose_passes(recipe: Recipe) -> Recipe:
    """Offers how often photos are gone through, in how many views, and how many are kept back."""
    epochs = st.number_input(
        "Times through all photos",
        1,
        100,
        recipe.epochs,
        help="At most (“epochs”).",
        key="train_epochs",
        **KEEP,
    )
    views = st.slider(
        "Views of each photo",
        1,
        8,
        recipe.views,
        help="As it is, mirrored, and others; see “What it is shown of them” above.",
        key="train_views",
        **KEEP,
    )
    validation = st.slider(
        "Kept back to judge by, %",
        10,
        50,
        round(100 * recipe.validation_share),
        5,
        key="train_validation",
        **KEEP,
    )
    return replace(recipe, epochs=epochs, views=views, validation_share=validation / 100)


def choose_doubts(recipe: Recipe) -> Recipe:
    """Offers what keeps it from learning by heart."""
    smoothing = st.slider(
        "Label smoothing",
        0.0,
        0.3,
        recipe.label_smoothing,
        0.05,
        help="Part of each truth that is spread over all kinds, so that it gets less "
        "sure of itself.",
        key="train_label_smoothing",
        **KEEP,
    )
    mixup = st.slider(
        "Mixing photos",
        0.0,
        1.0,
        recipe.mixup,
        0.1,
        help="Pairs of photos are laid over each other (“mixup”): against learning by heart.",
        key="train_mixup",
        **KEEP,
    )
    dropout = st.slider(
        "Left out at random",
        0.0,
        0.8,
        recipe.dropout,
        0.1,
        help="Part of what the network says of a photo that is left out at random each "
        "time (“dropout”): likewise.",
        key="train_dropout",
        **KEEP,
    )
    return replace(recipe, label_smoothing=smoothing, mixup=mixup, dropout=dropout)


def choose_tuning(recipe: Recipe, tuned: bool) -> Recipe:
    """Offers how long the end of the network learns, and how rare kinds count."""
    tuning_epochs = st.number_input(
        "Times through, fine-tuning",
        1,
        20,
        TUNING_EPOCHS,
        disabled=not tuned,
        key="train_fine_tuning_epochs",
        **KEEP,
    )
    balance = st.toggle(
        "Rare kinds count as much",
        recipe.balance,
        help="As frequent ones do.",
        key="train_class_weights",
        **KEEP,
    )
    return replace(recipe, tuning_epochs=tuning_epochs if tuned else 0, balance=balance)


def choose_rate(recipe: Recipe) -> Recipe:
    by_hand = st.toggle(
        "Learning rate by hand",
        help="How far each step goes. If it is not set, it is found (“learning-rate "
        "finder”) and shown.",
        key="train_manual_rate",
        **KEEP,
    )
    rate = st.number_input(
        "Learning rate",
        1e-6,
        1.0,
        1e-3,
        format="%.6f",
        disabled=not by_hand,
        key="train_rate",
        **KEEP,
    )
    return replace(recipe, rate=rate if by_hand else None)


def choose_chance(recipe: Recipe) -> Recipe:
    seed = st.number_input(
        "Seed",
        0,
        2**31,
        recipe.seed,
        help="The same seed gives the same model on the same machine; another one another "
        "split and other beginnings.",
        key="train_seed",
        **KEEP,
    )
    return replace(recipe, seed=seed)
