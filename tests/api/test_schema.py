"""Requests made up from the API's own description: whatever comes, the server does not fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.support.app_server import running_app

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)


@pytest.mark.slow
def test_no_request_makes_the_server_fail(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    with running_app(tmp_path_factory) as url:
        requests.post(f"{url}/api/v1/compare", files={"file": b"x"}, timeout=60)  # is ready then
        command = [
            str(Path(sys.executable).with_name("schemathesis")), "run",
            f"{url}/api/openapi.json", "--url", f"{url}/api",
            "--checks", ",".join(CHECKS), "--max-examples", "30", "--seed", "16",
            "--request-timeout", "60", "--no-color",
        ]  # fmt: skip
        process = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=400
        )
        assert process.returncode == 0, process.stdout + process.stderr
        assert requests.get(f"{url}/api/healthz", timeout=60).ok
