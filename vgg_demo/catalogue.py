"""All models that there are: those of the registry, and those that somebody taught here."""

from __future__ import annotations

from pathlib import Path

from vgg_demo.errors import BundleError
from vgg_demo.registry import MODELS, ModelSpec, get_spec
from vgg_demo.teach.bundle import is_bundle, open_bundle


def find_spec(name: str) -> ModelSpec:
    """Returns the spec of a model.

    Args:
        name: Name of a model of the registry, or the path of a bundle's folder.

    Raises:
        UnknownModelError: If there is none; the message names the nearest matches.
        BundleError: If there is a bundle that cannot be used.
    """
    path = Path(name)
    if name not in MODELS and is_bundle(path):
        return open_bundle(path).spec
    if "/" in name or "\\" in name or name.endswith((".bundle", ".zip")):
        raise BundleError(
            f"{name[:200]!r} is no bundle: a folder with model.keras, labels.json and spec.json. "
            "Check the path; `teach unpack` makes a folder of a ZIP archive."
        )
    return get_spec(name)
