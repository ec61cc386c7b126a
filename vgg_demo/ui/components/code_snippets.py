"""Code that reproduces the result of a page, for curl, Python and the command line."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import streamlit as st

from vgg_demo.limits import MAX_API_MODELS
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.ui.components.photo_input import ChosenPhoto
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models


@dataclass(frozen=True, slots=True)
class Request:
    """An API request and a command that both reproduce the result of a page.

    Attributes:
        path: Path of the API endpoint, without ``/api``.
        parameters: Query parameters of the API request.
        files: Names of the uploaded photos.
        result: Key of the list of results in the response.
        command: Arguments of ``vgg-demo``.
    """

    path: str
    parameters: Mapping[str, str | int]
    files: tuple[str, ...]
    result: str
    command: tuple[str, ...]

    def as_curl(self, server: str, requires_key: bool) -> str:
        """Returns the request as a curl command for a POSIX shell."""
        key = ' \\\n  -H "Authorization: Bearer $VGG_DEMO_API_KEY"' if requires_key else ""
        # Unless the file name is in quotes, curl interprets ";" and "," in it.
        files = "".join(
            " \\\n  -F " + shlex.quote(f"file=@{json.dumps(file, ensure_ascii=False)}")
            for file in self.files
        )
        address = f"{server}/api{self.path}?{urlencode(self.parameters, safe=',')}"
        return f"curl{key}{files} \\\n  {shlex.quote(address)}"

    def as_python(self, server: str, requires_key: bool) -> str:
        """Returns the request as a Python program that uses the `requests` package."""
        key = '    headers={"Authorization": f"Bearer {os.environ[\'VGG_DEMO_API_KEY\']}"},\n'
        return (
            ("import os\n\n" if requires_key else "")
            + "import requests\n\n"
            + f"photos = {json.dumps(list(self.files), ensure_ascii=False)}\n"
            + "response = requests.post(\n"
            + f'    "{server}/api{self.path}",\n'
            + f"    params={dict(self.parameters)!r},\n"
            + '    files=[("file", open(photo, "rb")) for photo in photos],\n'
            + (key if requires_key else "")
            + ")\nresponse.raise_for_status()\n"
            + f"for result in response.json()[{self.result!r}]:\n"
            + '    print(result.get("file"), result["predictions"][0])\n'
        )

    def as_command(self) -> str:
        """Returns the `vgg-demo` command for a POSIX shell."""
        return shlex.join(["vgg-demo", *self.command])


def classify_request(file: str, spec: ModelSpec, resize: Resize, top: int) -> Request:
    """Returns the request for the Classify page."""
    options = ("--model", spec.name, "--top", str(top), "--resize", resize.value, "--json")
    parameters: dict[str, str | int] = {"model": spec.name, "top": top, "resize": resize.value}
    command = ("classify", file, *options)
    return Request("/v1/classify", parameters, (file,), "results", command)


def compare_request(file: str, specs: Sequence[ModelSpec], resize: Resize, top: int) -> Request:
    """Returns the request for the Compare page."""
    names = ",".join(spec.name for spec in specs)
    options = ("--models", names, "--top", str(top), "--resize", resize.value, "--json")
    parameters: dict[str, str | int] = {"models": names, "top": top, "resize": resize.value}
    command = ("compare", file, *options)
    return Request("/v1/compare", parameters, (file,), "results", command)


def batch_request(specs: Sequence[ModelSpec], resize: Resize, top: int) -> Request:
    """Returns the request for the Batch page.

    The command classifies a folder with all models; the API request sends two photos to the
    first model.
    """
    models = [argument for spec in specs for argument in ("--model", spec.name)]
    options = ("--top", str(top), "--resize", resize.value, "--out", "results.csv")
    parameters: dict[str, str | int] = {"model": specs[0].name, "top": top, "resize": resize.value}
    command = ("batch", "photos/", *models, *options)
    return Request("/v1/classify", parameters, ("1.jpg", "2.jpg"), "results", command)


def describe_private_models(specs: Sequence[ModelSpec]) -> str:
    """Returns how to use the visitor's unpublished models in code; empty if there are none."""
    published = available_models.published_names()
    private = [spec.keras_name for spec in specs if spec.custom and spec.name not in published]
    if not private:
        return ""
    names = " and ".join(f"“{escape(name)}”" for name in private)
    model, path = ("it", "path of the bundle") if len(private) == 1 else ("them", "bundle paths")
    return (
        f"Only you can use {names} on this server. Publish {model} on the Train page to use "
        f"{model} through the API. For the command line, download {model}, unpack {model} with "
        f"`vgg-demo bundle unpack`, and pass the {path}."
    )


def describe_photo_folder(photo: ChosenPhoto | None) -> str:
    """Returns in which folder the code finds the photo; empty if there is no photo."""
    if photo is None:
        return ""
    examples = "" if photo.source else " (the examples are in `vgg_demo/data/examples`)"
    return f"Run this in the folder that contains {escape(photo.file)}{examples}."


def describe_model_limit(specs: Sequence[ModelSpec]) -> str:
    """Returns the API's limit if there are too many models for one comparison, else nothing."""
    if len(specs) <= MAX_API_MODELS:
        return ""
    return (
        f"The API compares at most {MAX_API_MODELS} models per request; the command line has no "
        "limit."
    )


def show_code(request: Request, *notes: str, warning: str = "") -> None:
    """Shows a page's request as code in a popover.

    Args:
        request: The request.
        *notes: Markdown to show below the code; empty notes are skipped.
        warning: Markdown to show above the code; empty if there is none.
    """
    server, requires_key = server_address(), bool(os.environ.get("VGG_DEMO_API_KEY"))
    with st.popover("Code", icon=":material/code:"):
        if warning:
            st.caption(warning)
        st.markdown("Get the same result from code, with this page's settings:")
        st.markdown("**curl**")
        st.code(request.as_curl(server, requires_key), language="bash", wrap_lines=True)
        st.markdown("**Python** (requires the package `requests`)")
        st.code(request.as_python(server, requires_key), language="python", wrap_lines=True)
        st.markdown("**Command line** (requires VGG Demo)")
        st.code(request.as_command(), language="bash", wrap_lines=True)
        if note := " ".join(filter(None, notes)):
            st.caption(note)
        if requires_key:
            st.caption("This server requires an API key. Ask its operator for one.")
        st.markdown(f"[API reference]({server}/api/docs)")


def server_address() -> str:
    """Returns the base URL of the server, without a trailing slash."""
    parts = urlsplit(st.context.url or "http://localhost:8501")
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"{parts.scheme}://{parts.netloc}{f'/{base}' if base else ''}"
