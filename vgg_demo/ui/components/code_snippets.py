"""The request that a page stands for, for other programs: curl, Python, command line."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

import streamlit as st

from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.ui.markdown import escape
from vgg_demo.ui.session import available_models


@dataclass(frozen=True, slots=True)
class Request:
    """What a page asks, so that it can be asked in other ways.

    Attributes:
        path: Of the API.
        parameters: Of the API.
        files: Names of the photos that are sent to it.
        result: What is looked at in its answer.
        command: What follows ``vgg-demo``.
    """

    path: str
    parameters: Mapping[str, str | int]
    files: tuple[str, ...]
    result: str
    command: tuple[str, ...]

    def as_curl(self, server: str, wants_key: bool) -> str:
        """Returns a line for a shell."""
        key = ' \\\n  -H "Authorization: Bearer $VGG_DEMO_API_KEY"' if wants_key else ""
        # curl takes ; and , in a name for its own signs unless the name stands in quotes.
        files = "".join(
            " \\\n  -F " + shlex.quote(f"file=@{json.dumps(file, ensure_ascii=False)}")
            for file in self.files
        )
        address = f"{server}/api{self.path}?{urlencode(self.parameters, safe=',')}"
        return f"curl{key}{files} \\\n  {shlex.quote(address)}"

    def as_python(self, server: str, wants_key: bool) -> str:
        """Returns a small program."""
        key = '    headers={"Authorization": f"Bearer {os.environ[\'VGG_DEMO_API_KEY\']}"},\n'
        return (
            ("import os\n\n" if wants_key else "")
            + "import requests\n\n"
            + f"photos = {json.dumps(list(self.files), ensure_ascii=False)}\n"
            + "response = requests.post(\n"
            + f'    "{server}/api{self.path}",\n'
            + f"    params={dict(self.parameters)!r},\n"
            + '    files=[("file", open(photo, "rb")) for photo in photos],\n'
            + (key if wants_key else "")
            + ")\nresponse.raise_for_status()\n"
            + f"for found in response.json()[{self.result!r}]:\n"
            + '    print(found.get("file"), found["predictions"][0])\n'
        )

    def as_command(self) -> str:
        """Returns a line for a shell on the machine where VGG Demo is."""
        return shlex.join(["python", "-m", "vgg_demo", *self.command])


def classify_request(file: str, spec: ModelSpec, resize: Resize, top: int) -> Request:
    """Returns what the page Classify asks."""
    options = ("--model", spec.name, "--top", str(top), "--resize", resize.value, "--json")
    parameters: dict[str, str | int] = {"model": spec.name, "top": top, "resize": resize.value}
    command = ("classify", file, *options)
    return Request("/v1/classify", parameters, (file,), "results", command)


def compare_request(file: str, specs: Sequence[ModelSpec], resize: Resize, top: int) -> Request:
    """Returns what the page Compare asks."""
    names = ",".join(spec.name for spec in specs)
    options = ("--models", names, "--top", str(top), "--resize", resize.value, "--json")
    parameters: dict[str, str | int] = {"models": names, "top": top, "resize": resize.value}
    command = ("compare", file, *options)
    return Request("/v1/compare", parameters, (file,), "results", command)


def batch_request(specs: Sequence[ModelSpec], resize: Resize, top: int) -> Request:
    """Returns what the page Batch asks: all at once on the command line, some by the API."""
    models = [word for spec in specs for word in ("--model", spec.name)]
    options = ("--top", str(top), "--resize", resize.value, "--out", "results.csv")
    parameters: dict[str, str | int] = {"model": specs[0].name, "top": top, "resize": resize.value}
    command = ("batch", "photos/", *models, *options)
    return Request("/v1/classify", parameters, ("1.jpg", "2.jpg"), "results", command)


def describe_private_models(specs: Sequence[ModelSpec]) -> str:
    """Says of models that only this visitor has what other programs need first."""
    kept = available_models.published_names()
    private = [spec.keras_name for spec in specs if spec.custom and spec.name not in kept]
    if not private:
        return ""
    return (
        f"Only you have {escape(' and '.join(private))} here. Keep it on this server (page "
        "Teach), and other programs can ask it; or download it, and the command line takes it: "
        r"\-\-model PATH."
    )


def show_code(request: Request, note: str = "") -> None:
    """Offers the request of a page for other programs."""
    server, wants_key = server_address(), bool(os.environ.get("VGG_DEMO_API_KEY"))
    with st.popover("From code", icon=":material/code:"):
        st.markdown("The same from another program, with the settings of this page:")
        st.markdown("**curl**")
        st.code(request.as_curl(server, wants_key), language="bash", wrap_lines=True)
        st.markdown("**Python**, with the package `requests`")
        st.code(request.as_python(server, wants_key), language="python", wrap_lines=True)
        st.markdown("**Command line**, where VGG Demo is installed")
        st.code(request.as_command(), language="bash", wrap_lines=True)
        if note:
            st.caption(note)
        if wants_key:
            st.caption("This server wants a key, which its owner has.")
        st.markdown(f"[All that can be asked, to try out]({server}/api/docs)")


def server_address() -> str:
    """Returns where the page is served, without what follows the name of the server."""
    found = urlsplit(st.context.url or "http://localhost:8501")
    base = str(st.get_option("server.baseUrlPath") or "").strip("/")
    return f"{found.scheme}://{found.netloc}{f'/{base}' if base else ''}"
