"""The page is rendered before TensorFlow is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

SCRIPT = """
import sys
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("vgg_demo/ui/pages/navigation.py", default_timeout=60).run()
assert not page.exception and page.title
print("tensorflow" in sys.modules, "keras" in sys.modules)
page.button(key="example-cat.jpg").click().run()
print("tensorflow" in sys.modules, page.header[0].value[:5])
"""


def test_empty_page_does_not_import_tensorflow() -> None:
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert process.stdout.split("\n")[:2] == ["False False", "True A cat"]
