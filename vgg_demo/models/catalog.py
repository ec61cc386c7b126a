"""All models that there are: those of the registry, and those that somebody taught here."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from vgg_demo.errors import BundleError, UnknownModelError
from vgg_demo.models.bundle import FILES, is_bundle, open_bundle
from vgg_demo.models.registry import MODELS, ModelSpec, get_spec


def published_models(folder: Path) -> dict[str, ModelSpec]:
    """Returns the taught models in a folder by their names, in the order of the folders' names.

    What cannot be used is passed over, and so is a folder that is not there.
    """
    found = {}
    try:
        paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return {}
    for path in paths:
        if is_bundle(path):
            try:
                spec = _open(path, _state(path))
            except (BundleError, OSError):
                continue
            found[spec.name] = spec
    return found


def _state(path: Path) -> tuple[tuple[int, int], ...]:
    """Returns what changes when a bundle does."""
    states = [(path / name).stat() for name in FILES]
    return tuple((state.st_mtime_ns, state.st_size) for state in states)


@lru_cache(maxsize=256)
def _open(path: Path, state: tuple[tuple[int, int], ...]) -> ModelSpec:  # noqa: ARG001
    """Opens a bundle once, until it changes: pages ask for all at each drawing."""
    return open_bundle(path).spec


def find_model(name: str, custom_models: Mapping[str, ModelSpec]) -> ModelSpec:
    """Returns a model by its name, never by a path.

    Args:
        name: Of a model of the registry, or of a taught one: ``clothes@1a2b3c4d``, or ``clothes``
            where only one is called so.
        custom: Those that may be used.

    Raises:
        UnknownModelError: If there is none; the message names the nearest matches.
        BundleError: If several taught models are called so.
    """
    if name in custom_models:
        return custom_models[name]
    try:
        return get_spec(name)
    except UnknownModelError:
        called = [spec for spec in custom_models.values() if spec.keras_name == name]
        if not called:
            raise
    if len(called) > 1:
        names = ", ".join(spec.name for spec in called)
        raise BundleError(f"Several models are called {name!r}. Say which one: {names}.")
    return called[0]


def find_spec(name: str, bundles_dir: Path) -> ModelSpec:
    """Returns a model by its name or by the path of a bundle.

    Args:
        name: As for `find_model`, or the path of a bundle's folder.
        bundles_dir: Where taught models are kept.

    Raises:
        UnknownModelError: If there is none; the message names the nearest matches.
        BundleError: If there is a bundle that cannot be used, or several are called so.
    """
    path = Path(name)
    if name not in MODELS and is_bundle(path):
        return open_bundle(path).spec
    if "/" in name or "\\" in name or name.endswith((".bundle", ".zip")):
        raise BundleError(
            f"{name[:200]!r} is no bundle: a folder with model.keras, labels.json and spec.json. "
            "Check the path; `teach unpack` makes a folder of a ZIP archive."
        )
    return find_model(name, published_models(bundles_dir))
