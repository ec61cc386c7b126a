"""What the API allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from vgg_demo.errors import SettingsError

MIN_KEY_LENGTH = 16


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Who may ask, and how much.

    Attributes:
        key: What a request must carry as ``Authorization: Bearer KEY``; empty for nothing.
        origins: Web sites whose pages may ask, such as ``https://example.org``.
        body_bytes: Of one request.
        bodies_bytes: Of all requests that are being received or answered.
        body_seconds: How long a body may take to arrive.
        answer_seconds: How long a client may take to receive a piece of an answer.
        files: Photos in one request.
        models: Models in one comparison.
        waiting: Photos that may wait, or be at work, in all requests.
        comparisons: Comparisons that may wait; they run one after the other.
    """

    key: str = ""
    origins: tuple[str, ...] = ()
    body_bytes: int = 42 * 2**20
    bodies_bytes: int = 128 * 2**20
    body_seconds: float = 60.0
    answer_seconds: float = 20.0
    files: int = 16
    models: int = 5
    waiting: int = 64
    comparisons: int = 4

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ApiSettings:
        """Reads ``VGG_DEMO_API_KEY`` and ``VGG_DEMO_API_ORIGINS`` (with commas between them).

        Raises:
            SettingsError: If the key is too short to be a secret, or an origin is none.
        """
        key = environment.get("VGG_DEMO_API_KEY", "")
        if key and (len(key) < MIN_KEY_LENGTH or not (key.isascii() and key.isprintable())):
            raise SettingsError(
                f"VGG_DEMO_API_KEY has {len(key)} characters; it needs at least {MIN_KEY_LENGTH}, "
                "all printable ASCII. A good one: python -c 'import secrets; "
                "print(secrets.token_urlsafe())'"
            )
        named = environment.get("VGG_DEMO_API_ORIGINS", "").split(",")
        origins = tuple(origin.strip() for origin in named if origin.strip())
        for origin in origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise SettingsError(
                    f"VGG_DEMO_API_ORIGINS names {origin[:60]!r}; an origin looks like "
                    "https://example.org, without a path."
                )
        return cls(key=key, origins=origins)
