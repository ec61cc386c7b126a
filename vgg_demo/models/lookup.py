"""Looks up models by name: those of the registry, and published custom models."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from vgg_demo.errors import BundleError, UnknownModelError
from vgg_demo.models.bundle import BUNDLE_FILES, is_bundle, open_bundle
from vgg_demo.models.registry import MODELS, ModelSpec, get_spec


def published_models(folder: Path) -> dict[str, ModelSpec]:
    """Returns the custom models in a folder by name, sorted by the names of their bundles.

    Unusable bundles are skipped. If the folder is missing, there are none.
    """
    specs = {}
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return {}
    for path in paths:
        if is_bundle(path):
            try:
                spec = _open(path, _fingerprint(path))
            except (BundleError, OSError):
                continue
            specs[spec.name] = spec
    return specs


def _fingerprint(path: Path) -> tuple[tuple[int, int], ...]:
    """Returns modification time (ns) and size of each file of a bundle."""
    stats = [(path / name).stat() for name in BUNDLE_FILES]
    return tuple((stat.st_mtime_ns, stat.st_size) for stat in stats)


@lru_cache(maxsize=256)
def _open(path: Path, fingerprint: tuple[tuple[int, int], ...]) -> ModelSpec:  # noqa: ARG001
    """Opens a bundle, cached until it changes: every rerun of a page lists all bundles."""
    return open_bundle(path).spec


def find_model(name: str, custom_models: Mapping[str, ModelSpec]) -> ModelSpec:
    """Returns a model by its name, never by a path.

    Args:
        name: Name of a model of the registry or of a custom model: ``clothes@1a2b3c4d``, or
            ``clothes`` if only one custom model has this name.
        custom_models: The available custom models by name.

    Raises:
        UnknownModelError: If there is no such model; the message names the nearest matches.
        BundleError: If several custom models have this name.
    """
    if name in custom_models:
        return custom_models[name]
    try:
        return get_spec(name)
    except UnknownModelError:
        matches = [spec for spec in custom_models.values() if spec.keras_name == name]
        if not matches:
            raise
    if len(matches) > 1:
        names = ", ".join(spec.name for spec in matches)
        raise BundleError(f"Several models are named {name!r}. Choose one of: {names}.")
    return matches[0]


def find_spec(name: str, bundles_dir: Path) -> ModelSpec:
    """Returns a model by its name or by the path of a bundle.

    Args:
        name: A name as for `find_model`, or the path of a bundle.
        bundles_dir: Folder of the published models.

    Raises:
        UnknownModelError: If there is no such model; the message names the nearest matches.
        BundleError: If the path is not a usable bundle, or several custom models have this name.
    """
    path = Path(name)
    if name not in MODELS and is_bundle(path):
        return open_bundle(path).spec
    if "/" in name or "\\" in name or name.endswith((".bundle", ".zip")):
        raise BundleError(
            f"{name[:200]!r} is not a bundle (a folder with model.keras, labels.json and "
            "spec.json). Check the path; `vgg-demo bundle unpack` unpacks a ZIP archive."
        )
    return find_model(name, published_models(bundles_dir))
