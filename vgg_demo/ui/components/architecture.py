"""VGG16's architecture as a figure and as a table of layers."""

from __future__ import annotations

from dataclasses import dataclass

import altair as alt
import pandas as pd
import streamlit as st

from vgg_demo.models.registry import DEFAULT_MODEL, get_spec
from vgg_demo.ui.theme import text_color

FIGURE_HEIGHT = 230  # pixels, without the labels
BAR_WIDTH = 56  # pixels; width of the bar for the most channels

LAYER_TYPES = {
    "Conv2D": "3×3 convolution",
    "MaxPooling2D": "2×2 max pooling",
    "Flatten": "flatten",
    "Dense": "dense",
}


@dataclass(frozen=True, slots=True)
class Block:
    """A block of convolutions, followed by a pooling layer.

    Attributes:
        convolutions: Number of convolutions.
        size: Height and width of their feature maps, in pixels.
        channels: Number of channels of their feature maps.
    """

    convolutions: int
    size: int
    channels: int


# Constants, because reading them from the model would import TensorFlow, which takes seconds.
BLOCKS = (
    Block(2, 224, 64),
    Block(2, 112, 128),
    Block(3, 56, 256),
    Block(3, 28, 512),
    Block(3, 14, 512),
)
"""The convolutional blocks of VGG16: configuration D in table 1 of arXiv 1409.1556."""


def show_architecture() -> None:
    """Shows the blocks of VGG16 as bars: height is the spatial size, width the channels."""
    st.altair_chart(
        architecture_chart(text_color()),
        alt="VGG16 as five bars, one per block. From block to block the bars get lower, from 224 "
        "to 14 pixels, and wider, from 64 to 512 channels.",
    )
    st.caption(
        "The five blocks of VGG16. Height: size of the feature maps in pixels. Width: number of "
        "channels. The image enters on the left; three dense layers follow on the right."
    )


def architecture_chart(text_color: str) -> alt.LayerChart:
    """Returns a bar chart of `BLOCKS`.

    Args:
        text_color: Color of the labels, as CSS.
    """
    frame = pd.DataFrame(
        {
            "block": f"Block {number}",
            "convolutions": block.convolutions,
            "size": block.size,
            "channels": block.channels,
            "shape": f"{block.size} × {block.size} × {block.channels}",
        }
        for number, block in enumerate(BLOCKS, start=1)
    )
    base = alt.Chart(frame).encode(
        x=alt.X(
            "block:N",
            title=None,
            axis=alt.Axis(labelAngle=0, labelColor=text_color, domain=False, ticks=False),
        ),
        y=alt.Y("size:Q", axis=None, scale=alt.Scale(domain=[0, BLOCKS[0].size])),
        tooltip=[
            alt.Tooltip("block:N", title="Block"),
            alt.Tooltip("convolutions:Q", title="Convolutions"),
            alt.Tooltip("size:Q", title="Height and width"),
            alt.Tooltip("channels:Q", title="Channels"),
        ],
    )
    bars = base.mark_bar(cornerRadius=2).encode(
        size=alt.Size(
            "channels:Q",
            scale=alt.Scale(domain=[0, BLOCKS[-1].channels], range=[0, BAR_WIDTH]),
            legend=None,
        )
    )
    labels = base.mark_text(dy=-9, fontSize=11, color=text_color).encode(text="shape:N")
    chart: alt.LayerChart = (
        alt.layer(bars, labels).properties(height=FIGURE_HEIGHT).configure_view(stroke=None)
    )
    return chart


@st.cache_data(show_spinner=False)
def layer_table() -> pd.DataFrame:
    """Returns VGG16's layers with their output shapes and parameters."""
    from vgg_demo.inference.layers import describe_layers

    spec = get_spec(DEFAULT_MODEL)
    layers = describe_layers(spec)
    return pd.DataFrame(
        {
            "Layer": [layer.name for layer in layers],
            "Type": [LAYER_TYPES[layer.type] for layer in layers],
            "Output shape": [" × ".join(str(n) for n in layer.shape) for layer in layers],
            "Parameters": [layer.parameters for layer in layers],
            "Share": [layer.parameters / spec.parameters for layer in layers],
        }
    )


def show_layers() -> None:
    """Shows the table of all layers. Imports TensorFlow, which takes seconds the first time."""
    with st.spinner("Building VGG16 …"):
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
        alt="The 22 layers of VGG16 with type, output shape and number of parameters",
    )
    st.caption(
        f"{table['Parameters'].sum():,} parameters in total. The first dense layer, fc1, has "
        f"{table.loc[table['Layer'] == 'fc1', 'Share'].item():.0%} of them."
    )
