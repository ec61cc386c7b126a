"""How VGG16 works, and what this demo cannot tell."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from vgg_demo.analysis.verdict import GROUP_THRESHOLD
from vgg_demo.images.examples import load_examples
from vgg_demo.models.labels import ancestors, load_labels
from vgg_demo.models.registry import DEFAULT_MODEL, EMBEDDED_MODEL, get_spec
from vgg_demo.ui.components.code_snippets import server_address
from vgg_demo.ui.components.text import SURE_GROUP, SURE_MARGIN, SURE_SPREAD

TEXT_WIDTH = 760  # pixels; about 90 letters a line
DOG = "n02084071"

LAYER_TYPES = {
    "Conv2D": "3×3 convolution",
    "MaxPooling2D": "2×2 max-pooling",
    "Flatten": "flatten",
    "Dense": "dense",
}


@st.cache_data(show_spinner=False)
def layer_table() -> pd.DataFrame:
    """Returns VGG16's layers with their shapes and parameters."""
    from vgg_demo.inference.layers import describe_layers

    spec = get_spec(DEFAULT_MODEL)
    layers = describe_layers(spec)
    return pd.DataFrame(
        {
            "Layer": [layer.name for layer in layers],
            "Kind": [LAYER_TYPES[layer.kind] for layer in layers],
            "Output": [" × ".join(str(n) for n in layer.shape) for layer in layers],
            "Parameters": [layer.parameters for layer in layers],
            "Share": [layer.parameters / spec.parameters for layer in layers],
        }
    )


def main() -> None:
    with st.container(width=TEXT_WIDTH):
        st.title("How VGG16 works", anchor=False)
        st.markdown(
            "VGG16 was built in 2014 at Oxford's Visual Geometry Group to answer one question: "
            "does a network that recognises pictures get better when it gets deeper? It uses one "
            "idea again and again: look at small windows of 3×3 pixels, keep what fits a learned "
            "pattern, shrink the picture, repeat. Early layers find edges and colours, later ones "
            "textures and parts, the last ones whole things.\n\n"
            "Thirteen convolutions look, five poolings halve the picture, three dense layers "
            "decide among a thousand classes."
        )
    layers = st.container()
    with st.container(width=TEXT_WIDTH):
        st.header("Where it learned", anchor=False)
        st.markdown(
            "From ImageNet's competition of 2012: 1.28 million photos from the web, sorted by "
            "people into a thousand classes of WordNet, a dictionary of meanings. "
            f"{dogs_in_imagenet()} of the classes are dogs; giraffes and sunflowers are missing."
        )
        show_reading_help()
        show_limits()
        show_sources()
    with layers:  # last, because it waits for TensorFlow
        show_layers()


def dogs_in_imagenet() -> int:
    return sum(DOG in ancestors(label.wnid) for label in load_labels("imagenet"))


def show_reading_help() -> None:
    embedded = get_spec(EMBEDDED_MODEL)
    accuracy = embedded.accuracy
    right = f"It is right for {accuracy.top1:.1f}% of the {accuracy.test_set}. " if accuracy else ""
    things = ", ".join(label.label for label in embedded.classes)
    st.header("How to read an answer", anchor=False)
    st.markdown(
        "- **The headline** is as specific as the probabilities allow: where no single breed "
        f"reaches {GROUP_THRESHOLD:.0%} but all dogs together do, it says “a dog”.\n"
        f"- **Sure or unsure.** An answer counts as sure when three things hold. {SURE_GROUP} "
        f"{SURE_MARGIN} {SURE_SPREAD}\n"
        "- **Unverified weights** means that the model's file is not, or cannot be shown to be, "
        "the published one. It may still be right; nobody here vouches for it.\n"
        "- **Several networks** are asked on the page Compare. Where they agree, WordNet says how "
        "exactly: five breeds of hound are still a hound. Agreement is a hint, not a proof: they "
        "all learned from the same photos.\n"
        "- **Taught** models know only what somebody taught them, on the page Teach or from the "
        "command line. How good they are was measured on some of the same photos, kept back. "
        "They count as sure from 50%, or from what was better on those photos.\n"
        "- **The receipt** is a small file that says which photo, model and recipe gave the "
        "answer. With it and the photo, anyone can repeat the run and compare."
    )
    st.header(f"What {embedded.keras_name} is", anchor=False)
    st.markdown(
        f"A VGG in small that comes with this program, so that it answers at once and without "
        f"a network: {embedded.parameters:,} parameters in "
        f"{embedded.weights.size_bytes / 1e6:.1f} MB, trained from scratch on 32×32 pictures of "
        f"ten things: {things}. {right}It is not VGG16 and never answers in its name."
    )


def show_limits() -> None:
    st.header("What this demo cannot tell", anchor=False)
    st.markdown(
        "- **Anything outside its classes.** Shown something else, it answers with what looks "
        "most like it. A low probability is a hint, not a guarantee.\n"
        "- **More than one thing.** It names the photo, not each thing on it.\n"
        "- **Who a person is, or how they feel.** It was never taught to, and must not be used "
        "for it.\n"
        "- **How likely it is to be right.** Its probabilities are its own, and often too high."
    )


def show_sources() -> None:
    st.header("For other programs", anchor=False)
    st.markdown(
        f"All this can be asked over HTTP too, at [{server_address()}/api/docs]"
        f"({server_address()}/api/docs), and on the command line with `vgg-demo`. "
        "“From code” on each page shows how."
    )
    st.header("Sources", anchor=False)
    st.markdown(
        "- K. Simonyan, A. Zisserman: [Very Deep Convolutional Networks for Large-Scale Image "
        "Recognition](https://arxiv.org/abs/1409.1556), arXiv 1409.1556, 2014\n"
        "- O. Russakovsky and others: [ImageNet Large Scale Visual Recognition Challenge]"
        "(https://arxiv.org/abs/1409.0575), arXiv 1409.0575, 2014\n"
        "- [Keras Applications](https://keras.io/api/applications/): the models and their "
        "weights\n"
        "- WordNet 3.0, Princeton University: names, definitions and what is a kind of what"
    )
    st.header("Example photos", anchor=False)
    st.markdown(
        "\n".join(
            f"- **{example.title}**: {example.author}, {example.license}. {example.source}."
            for example in load_examples()
        )
        + "\n- **Clothing**, to try teaching with: Alexey Grigorev and contributors, CC0. "
        "[Clothing dataset](https://github.com/alexeygrigorev/clothing-dataset-small); scaled down."
    )


def show_layers() -> None:
    with st.spinner("Building VGG16 to look at its layers …"):
        table = layer_table()
    st.dataframe(
        table,
        hide_index=True,
        height="content",
        column_config={
            "Parameters": st.column_config.NumberColumn(format="localized"),
            "Share": st.column_config.ProgressColumn(
                "Share of all parameters", format="percent", min_value=0, max_value=1
            ),
        },
        alt="The 22 layers of VGG16 with kind, output shape and number of parameters",
    )
    st.caption(
        f"{table['Parameters'].sum():,} parameters in all. The first dense layer, fc1, holds "
        f"{table.loc[table['Layer'] == 'fc1', 'Share'].item():.0%} of them."
    )


main()
