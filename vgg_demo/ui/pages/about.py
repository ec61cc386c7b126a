"""The About page: how VGG16 works, how to read a prediction, and the limits of the demo."""

from __future__ import annotations

import streamlit as st

from vgg_demo.analysis.verdict import GROUP_THRESHOLD
from vgg_demo.images.examples import load_examples
from vgg_demo.models.labels import ancestors, load_labels
from vgg_demo.models.registry import EMBEDDED_MODEL, get_spec
from vgg_demo.ui.components.architecture import show_architecture, show_layers
from vgg_demo.ui.components.code_snippets import server_address
from vgg_demo.ui.components.text import GROUP_RULE, MARGIN_RULE, SPREAD_RULE

TEXT_WIDTH = 760  # pixels; about 90 characters per line
DOG = "n02084071"  # WordNet ID


def main() -> None:
    with st.container(width=TEXT_WIDTH):
        st.title("About VGG Demo", anchor=False)
        show_architecture()
        show_model()
        layers = st.expander("All 22 layers")
        show_reading_help()
        show_limits()
        show_other_models()
        show_interfaces()
        show_sources()
    with layers:  # last, because it waits for the import of TensorFlow
        show_layers()


def show_model() -> None:
    """Shows what VGG16 is and what it was trained on."""
    st.header("What VGG16 is", anchor=False)
    st.markdown(
        "VGG16 is a neural network that classifies images. The Visual Geometry Group at Oxford "
        "published it in 2014 to test whether deeper networks classify better. It repeats one "
        "simple step: small 3×3 convolutions that detect patterns, then a pooling layer that "
        "halves the width and height. Early layers detect edges and colors, later ones textures "
        "and parts, the last ones whole objects. Three dense layers turn these features into the "
        "probabilities of 1,000 classes. 16 of the 22 layers have weights, hence the name.\n\n"
        "It was trained on ImageNet, as used in a 2012 competition: 1.28 million photos from "
        "the web that people sorted into 1,000 classes. "
        f"{count_dog_classes()} of the classes are dogs; giraffes and sunflowers are missing."
    )


def count_dog_classes() -> int:
    """Returns the number of ImageNet classes that are dogs."""
    return sum(DOG in ancestors(label.wnid) for label in load_labels("imagenet"))


def show_reading_help() -> None:
    """Shows what the parts of a prediction mean."""
    st.header("How to read a prediction", anchor=False)
    st.markdown(
        "- **The headline** is as specific as the probabilities allow. If no single breed reaches "
        f"{GROUP_THRESHOLD:.0%} but all dogs together do, it is “A dog”.\n"
        "- **Not sure** appears unless all three are true:\n"
        f"    - {GROUP_RULE}\n"
        f"    - {MARGIN_RULE}\n"
        f"    - {SPREAD_RULE}\n"
        "- **Unverified weights** appears if the weight file does not match the published hash, "
        "or if no hash is published. The prediction may still be correct.\n"
        "- **The receipt** is a small file that records the photo's hash, the model and the "
        "settings. With the receipt and the photo, anyone can check the prediction: "
        "`vgg-demo verify RECEIPT PHOTO`."
    )


def show_limits() -> None:
    """Shows what predictions cannot be used for."""
    st.header("Limits", anchor=False)
    st.markdown(
        "- **Only its own classes.** For a photo of anything else, a model predicts the class "
        "that looks most similar. A low probability suggests this, but a high one "
        "does not rule it out.\n"
        "- **One prediction per photo.** A model classifies the photo as a whole, not each object "
        "in it.\n"
        "- **Not for people.** The pretrained models were not trained to identify people or "
        "recognize emotions, and must not be used for that.\n"
        "- **Often overconfident.** A probability of 90% does not mean that the prediction is "
        "correct nine times out of ten. Probabilities are often too high."
    )


def show_other_models() -> None:
    """Shows how Mini-VGG, the other pretrained models and custom models differ from VGG16."""
    embedded = get_spec(EMBEDDED_MODEL)
    accuracy = embedded.accuracy
    measured = (
        f" Its top-1 accuracy on {accuracy.test_set} is {accuracy.top1:.1f}%." if accuracy else ""
    )
    classes = ", ".join(label.label for label in embedded.classes)
    st.header("Other models", anchor=False)
    st.markdown(
        f"- **{embedded.keras_name}** comes with this demo, so that you get predictions right "
        f"away and offline. It is a small VGG with {embedded.parameters:,} parameters "
        f"({embedded.weights.size_bytes / 1e6:.1f} MB), trained from scratch on 32×32 images of "
        f"ten classes: {classes}.{measured} Its predictions are always labeled "
        f"{embedded.keras_name}.\n"
        "- **Pretrained models** from Keras Applications have the same 1,000 classes as VGG16. "
        "The Compare page runs several on one photo. If they disagree, WordNet shows what their "
        "predictions have in common: five breeds of hound are all hounds. Agreement is evidence, "
        "not proof, because all of them were trained on the same photos.\n"
        "- **Custom models** are trained on the Train page or on the command line, and predict "
        "only the classes they were trained on. Their accuracy is measured on held-out photos. "
        "A prediction is sure at 50% or more, or at a higher threshold if that was better on "
        "those photos."
    )


def show_interfaces() -> None:
    """Shows the HTTP API and the command line."""
    st.header("For developers", anchor=False)
    st.markdown(
        "You can also classify photos and compare models over HTTP ([API reference]"
        f"({server_address()}/api/docs)), and do everything on the command line (`vgg-demo`). "
        "Click **Code** on a page for a ready-made example."
    )


def show_sources() -> None:
    """Shows the publications, the data and the credits of the bundled photos."""
    st.header("Sources", anchor=False)
    st.markdown(
        "- K. Simonyan, A. Zisserman: [Very Deep Convolutional Networks for Large-Scale Image "
        "Recognition](https://arxiv.org/abs/1409.1556), arXiv 1409.1556, 2014\n"
        "- O. Russakovsky and others: [ImageNet Large Scale Visual Recognition Challenge]"
        "(https://arxiv.org/abs/1409.0575), arXiv 1409.0575, 2014\n"
        "- [Keras Applications](https://keras.io/api/applications/): the models and their "
        "weights\n"
        "- WordNet 3.0, Princeton University: the names, definitions and hierarchy of the classes"
    )
    st.markdown("**Photos**")
    st.markdown(
        "\n".join(
            f"- **{example.title}**: {example.author}, {example.license}. {example.source}."
            for example in load_examples()
        )
        + "\n- **Clothing**, the example dataset of the Train page: Alexey Grigorev and "
        "contributors, CC0. "
        "[Clothing dataset](https://github.com/alexeygrigorev/clothing-dataset-small); scaled down."
    )


main()
