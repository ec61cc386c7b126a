"""What a network's body made of photos, kept on disk: it is the slow part of learning."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 2 * 10**9
"""Of all features; beyond it, those that were not used for longest go."""

VERSION = 1
"""Goes up when the same photo comes to give other features."""


class FeatureCache:
    """Features by the content of photos. May be used by several processes, by one thread each.

    Only numbers are kept, under hashes; no photo and no name. Where nothing can be kept or read,
    nothing is.

    Args:
        path: Of the file, an SQLite database; None to keep nothing.
    """

    def __init__(self, path: Path | None) -> None:
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _open(path)
        except (OSError, sqlite3.Error):  # what is kept is never needed
            self._database = _open(None)

    def get(self, keys: Sequence[bytes]) -> list[NDArray[np.float32] | None]:
        """Returns the features under each key, float32 (C,), or None."""
        sql = "SELECT numbers FROM features WHERE key = ?"
        try:
            found = [self._database.execute(sql, (key,)).fetchone() for key in keys]
        except sqlite3.Error:  # damaged, or at work for another process for too long
            return [None] * len(keys)
        used = [(key,) for key, row in zip(keys, found, strict=True) if row]
        self._try("UPDATE features SET used = strftime('%s') WHERE key = ?", used)
        return [np.frombuffer(row[0], dtype=np.float32) if row else None for row in found]

    def put(self, features: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Keeps features, float32 (C,) each."""
        rows = [(key, numbers.tobytes()) for key, numbers in features.items()]
        self._try("INSERT OR REPLACE INTO features VALUES (?, ?, strftime('%s'))", rows)

    def shrink(self, most_bytes: int = MAX_BYTES) -> None:
        """Lets go of what was not used for longest, until the rest fits."""
        sql = "SELECT key, length(numbers) FROM features ORDER BY used DESC"
        left, gone = most_bytes, []
        with suppress(sqlite3.Error):
            for key, size_bytes in self._database.execute(sql):
                left -= size_bytes
                if left < 0:
                    gone.append((key,))
        self._try("DELETE FROM features WHERE key = ?", gone)
        if gone:
            with suppress(sqlite3.Error):
                self._database.execute("VACUUM")

    def _try(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Changes what is kept, if that can be done now."""
        with suppress(sqlite3.Error), self._database:
            self._database.executemany(sql, rows)

    def close(self) -> None:
        self._database.close()


def _open(path: Path | None) -> sqlite3.Connection:
    database = sqlite3.connect(path or ":memory:", timeout=30)
    with database:
        database.execute(
            "CREATE TABLE IF NOT EXISTS features (key BLOB PRIMARY KEY, numbers BLOB, "
            "used INTEGER) WITHOUT ROWID"
        )
    return database


def feature_key(
    photo_sha256: str, weights_sha256: str, feature_extractor: str, resize: str, view: int
) -> bytes:
    """Returns the key of what a body makes of a view of a photo."""
    parts = (str(VERSION), photo_sha256, weights_sha256, feature_extractor, resize, str(view))
    return hashlib.sha256("\0".join(parts).encode()).digest()
