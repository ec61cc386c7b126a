"""An on-disk cache of backbone features, the slow part of training."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 2 * 10**9
"""Maximum total size of all features; beyond it, the least recently used ones are evicted."""

VERSION = 1
"""Increase it when a code change makes the same photo yield different features."""


class FeatureCache:
    """Features keyed by the content of photos. Several processes may share a file.

    An instance belongs to one thread. The file holds only feature vectors under hashes, no photos
    and no names. A file that cannot be read or written acts as an empty cache.

    Args:
        path: Path of the SQLite database; None for a cache in memory.
    """

    def __init__(self, path: Path | None) -> None:
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _open(path)
        except (OSError, sqlite3.Error):  # training works without a cache
            self._database = _open(None)

    def get(self, keys: Sequence[bytes]) -> list[NDArray[np.float32] | None]:
        """Returns the features under each key, float32 (C,), or None."""
        sql = "SELECT numbers FROM features WHERE key = ?"
        try:
            rows = [self._database.execute(sql, (key,)).fetchone() for key in keys]
        except sqlite3.Error:  # damaged, or locked by another process for too long
            return [None] * len(keys)
        used = [(key,) for key, row in zip(keys, rows, strict=True) if row]
        self._execute("UPDATE features SET used = strftime('%s') WHERE key = ?", used)
        return [np.frombuffer(row[0], dtype=np.float32) if row else None for row in rows]

    def put(self, features: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Stores features, float32 (C,) each."""
        rows = [(key, numbers.tobytes()) for key, numbers in features.items()]
        self._execute("INSERT OR REPLACE INTO features VALUES (?, ?, strftime('%s'))", rows)

    def shrink(self, max_bytes: int = MAX_BYTES) -> None:
        """Evicts the least recently used features until the rest fits into `max_bytes`."""
        sql = "SELECT key, length(numbers) FROM features ORDER BY used DESC"
        free_bytes, evicted = max_bytes, []
        with suppress(sqlite3.Error):
            for key, size_bytes in self._database.execute(sql):
                free_bytes -= size_bytes
                if free_bytes < 0:
                    evicted.append((key,))
        self._execute("DELETE FROM features WHERE key = ?", evicted)
        if evicted:
            with suppress(sqlite3.Error):
                self._database.execute("VACUUM")

    def _execute(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Executes a statement for each row in one transaction; ignores database errors."""
        with suppress(sqlite3.Error), self._database:
            self._database.executemany(sql, rows)

    def close(self) -> None:
        """Closes the database; a closed cache acts as an empty one."""
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
    """Returns the cache key of the features that a feature extractor computes for a view."""
    parts = (str(VERSION), photo_sha256, weights_sha256, feature_extractor, resize, str(view))
    return hashlib.sha256("\0".join(parts).encode()).digest()
