"""Regenerate tests/training/golden_losses.json, on purpose: only when training is meant to change."""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.training.test_loop import GOLDEN, golden_losses

if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(golden_losses(), indent=1) + "\n")
    print(f"wrote {GOLDEN.relative_to(ROOT)}")
