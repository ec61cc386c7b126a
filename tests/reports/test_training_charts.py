"""Charts: every column that a chart uses exists in its data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from vgg_demo.analysis.evaluation import Proportion
from vgg_demo.reports import training_charts as charts
from vgg_demo.training.progress import Epoch
from vgg_demo.training.schedule import RangeTest
from vgg_demo.training.validation import LearningCurvePoint, Threshold

NAMES = ["cat", "dog"]
EPOCHS = [Epoch(number, 2, 0.5, 0.4, 0.9, 1e-3, number == 1, 1.0, 10.0) for number in (1, 2)]
HISTORY = charts.history_frame(EPOCHS)
CONFUSIONS = charts.confusion_frame(NAMES, np.array([0, 0, 1]), np.array([0, 1, 1]))
CURVE = charts.learning_curve_frame([LearningCurvePoint(10, Proportion(3, 4))])
CHARTS = {
    "loss": charts.loss_chart(HISTORY, 2, "black"),
    "accuracy": charts.accuracy_chart(HISTORY, 2, 0.5, "black"),
    "range test": charts.range_test_chart(
        RangeTest(np.array([1e-3, 1e-2]), np.array([1.0, 2.0]), 1e-3, 1e-4), "black"
    ),
    "confusions": charts.confusion_chart(CONFUSIONS, NAMES, ("cat", "dog"), "black"),
    "threshold": charts.threshold_chart([Threshold(0.5, 1.0, 0.9)], 0.5, "black"),
    "learning curve": charts.learning_curve_chart(CURVE, "black"),
}


@pytest.mark.parametrize("name", CHARTS)
def test_charts_use_columns_of_their_data(name: str) -> None:
    document = CHARTS[name].to_dict()
    layers = list(layers_with_data(document, document.get("data", {})))
    assert layers
    for layer, data in layers:
        columns = {column for row in document["datasets"][data["name"]] for column in row}
        columns |= {step["as"] for step in layer.get("transform", ()) if "as" in step}
        text = str([layer["encoding"], layer.get("transform")])
        used = set(re.findall(r"datum\.(\w+)|'field': '(\w+)'", text))
        assert {column for pair in used for column in pair if column} <= columns


def layers_with_data(
    chart: dict[str, Any], inherited: dict[str, str]
) -> Iterator[tuple[dict[str, Any], dict[str, str]]]:
    """Yields the layers of a chart, each with its data."""
    data = chart.get("data", inherited)
    if "mark" in chart:
        yield chart, data
    for layer in chart.get("layer", ()):
        yield from layers_with_data(layer, data)
