"""The rooms: what may import what, how long a file may be, and that nothing heavy loads early."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_import_rules_hold() -> None:
    """The contracts stand in pyproject.toml, under tool.importlinter."""
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("path", sorted((ROOT / "hiddenmix").glob("*.py")), ids=lambda p: p.name)
def test_a_file_has_one_reason_to_exist(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 350
    assert path.stem not in {"utils", "util", "helpers", "misc", "common"}


def test_the_package_and_the_report_load_no_torch() -> None:
    code = (
        "import sys, hiddenmix, hiddenmix.report, hiddenmix.figures, hiddenmix.image_cache\n"
        "assert 'torch' not in sys.modules\n"
        "hiddenmix.draw\n"
        "assert 'torch' in sys.modules and 'torchvision' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
