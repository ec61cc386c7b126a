"""`serve`: the web page and the HTTP API."""

from __future__ import annotations

import errno
import logging
import socket

import click

MAX_MESSAGE_BYTES = 200 * 2**20
"""Largest message from a browser, such as photos from the camera; as in `streamlit run`."""


@click.command("serve", epilog="Example: vgg-demo serve --port 8000")
@click.option(
    "--host",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESS",
    help="Address to listen on; 0.0.0.0 accepts connections from the network.",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    default=8501,
    show_default=True,
    metavar="PORT",
    help="Port to listen on.",
)
@click.option(
    "--ssl-certfile",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="TLS certificate (PEM), for HTTPS.",
)
@click.option(
    "--ssl-keyfile",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Private key of the TLS certificate (PEM), for HTTPS.",
)
def serve_command(host: str, port: int, ssl_certfile: str | None, ssl_keyfile: str | None) -> None:
    """Start the web page and the HTTP API.

    The page is at /, the API at /api, the API documentation at /api/docs. Press Ctrl-C to
    stop the server.
    """
    import uvicorn

    if ssl_keyfile and not ssl_certfile:
        raise click.UsageError("--ssl-keyfile requires --ssl-certfile.")
    _check_port(host, port)
    scheme, shown = (
        "https" if ssl_certfile else "http",
        "localhost" if host == "127.0.0.1" else host,
    )
    click.echo(f"Starting VGG Demo at {scheme}://{shown}:{port}. Press Ctrl-C to stop.")
    logging.basicConfig(force=True)  # the other commands silence log messages, see `console.set_up`
    uvicorn.run(
        "vgg_demo.app:create_app",
        factory=True,
        host=host,
        port=port,
        ssl_certfile=ssl_certfile,
        ssl_keyfile=ssl_keyfile,
        access_log=False,
        ws_max_size=MAX_MESSAGE_BYTES,
    )


def _check_port(host: str, port: int) -> None:
    """Checks that the server can listen, before models are loaded and downloads start.

    Raises:
        click.ClickException: If it cannot.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise click.ClickException(
                f"Port {port} is in use. Stop the other program, or choose another port: "
                f"vgg-demo serve --port {port + 1 if port < 65535 else port - 1}"
            ) from error
        raise click.ClickException(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}. "
            "Choose another address or port."
        ) from error
