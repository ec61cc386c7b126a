"""Settings of the HTTP API: access and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from vgg_demo.errors import SettingsError
from vgg_demo.limits import MAX_API_MODELS

MIN_KEY_LENGTH = 16
"""Minimum number of characters of an API key."""


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Access and limits of the API.

    Fields that can be set by an environment variable describe it in their metadata: ``variable``,
    ``help`` (one sentence) and ``default`` (the default as text).

    Attributes:
        key: API key that requests must carry as ``Authorization: Bearer KEY``; empty if the API
            is open.
        origins: Origins of the websites whose pages may call the API from a browser, such as
            ``https://example.org``.
        max_body_bytes: Maximum size of the body of one request.
        max_total_body_bytes: Maximum size of the bodies of all requests in progress together.
        body_timeout_seconds: Maximum time until a request body has arrived completely.
        send_timeout_seconds: Maximum time that a client may take to receive one chunk of a
            response.
        max_photos: Maximum number of photos in one request.
        max_models: Maximum number of models in one comparison.
        max_waiting_photos: Maximum number of photos, waiting or in progress, of all requests.
        max_waiting_comparisons: Maximum number of waiting comparisons; one runs at a time.
    """

    key: str = field(
        default="",
        metadata={
            "variable": "VGG_DEMO_API_KEY",
            "help": (
                "Key that requests to the API must send as “Authorization: Bearer KEY”, at least "
                f"{MIN_KEY_LENGTH} printable ASCII characters."
            ),
            "default": "not set (the API requires no key)",
        },
    )
    origins: tuple[str, ...] = field(
        default=(),
        metadata={
            "variable": "VGG_DEMO_API_ORIGINS",
            "help": (
                "Origins of the websites whose pages may call the API from a browser, separated "
                "by commas, such as https://example.org."
            ),
            "default": "not set (no other websites)",
        },
    )
    max_body_bytes: int = 42 * 2**20
    max_total_body_bytes: int = 128 * 2**20
    body_timeout_seconds: float = 60.0
    send_timeout_seconds: float = 20.0
    max_photos: int = 16
    max_models: int = MAX_API_MODELS
    max_waiting_photos: int = 64
    max_waiting_comparisons: int = 4

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ApiSettings:
        """Reads ``VGG_DEMO_API_KEY`` and ``VGG_DEMO_API_ORIGINS`` (separated by commas).

        Raises:
            SettingsError: If the key is too short or not printable ASCII, or if an origin is
                invalid.
        """
        key = environment.get("VGG_DEMO_API_KEY", "")
        if key and (len(key) < MIN_KEY_LENGTH or not (key.isascii() and key.isprintable())):
            raise SettingsError(
                f"VGG_DEMO_API_KEY has {len(key)} characters; it must have at least "
                f"{MIN_KEY_LENGTH}, all printable ASCII. Generate one: python -c 'import secrets; "
                "print(secrets.token_urlsafe())'"
            )
        entries = environment.get("VGG_DEMO_API_ORIGINS", "").split(",")
        origins = tuple(origin.strip() for origin in entries if origin.strip())
        for origin in origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise SettingsError(
                    f"VGG_DEMO_API_ORIGINS contains {origin[:60]!r}; an origin looks like "
                    "https://example.org, without a path."
                )
        return cls(key=key, origins=origins)
