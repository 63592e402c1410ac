"""The site of docs/ builds without a warning, and no page is missing from it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("myst_parser")
pytest.importorskip("furo")

ROOT = Path(__file__).resolve().parents[2]


def test_the_site_builds_and_has_every_page(tmp_path):
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "dirhtml"),
            *("-d", str(tmp_path / "trees"), str(ROOT / "docs"), str(tmp_path / "site")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    menu = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    pages = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    names = {page.with_suffix("").as_posix() for page in pages} - {"README", "index"}
    assert sorted(name for name in names if f'"{name}/"' not in menu) == []
    reference = (tmp_path / "site" / "python" / "index.html").read_text(encoding="utf-8")
    assert 'id="qpolicy_ros.policy.load_policy"' in reference
