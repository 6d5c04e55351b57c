"""A study that other scripts disturb: its networks stand almost still until they are let go."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from kill import outcome, trainers

NETWORK = """
import os
import time

from torch import nn


class Net(nn.Module):
    def __init__(self, classes, shape):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(shape[0], 4, 3, padding=1), nn.ReLU())
        self.conv2 = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.2))
        self.conv3 = nn.Sequential(nn.Conv2d(4, 4, 3, stride=4), nn.ReLU())
        self.head = nn.Linear(16, classes)

    def forward(self, images):
        if self.training and len(images) == 50 and not os.path.exists(os.environ["GO"]):
            time.sleep(1)
        return self.head(self.conv3(self.conv2(self.conv1(images))).flatten(1))
"""
"""While the file $GO is absent, a step takes a second, and a network two minutes."""

STUDY = [
    *("-m", "layer=conv1,conv2,conv3", "mode=siamese,triplet", "repeats=1", "epochs=40"),
    *("model=import", "model.target=slow.Net", "dataset.train_size=150", "batch_size=50"),
    *("dataset.augment=flip_crop", "checkpoint_seconds=0.5"),
]
"""Six settings and their three baselines."""


class Disturbed:
    """Studies below `folder`, which becomes the current one."""

    def __init__(self, folder: Path) -> None:
        os.chdir(folder)
        (folder / "slow.py").write_text(NETWORK)
        package = str(Path(__file__).resolve().parent.parent)
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ.update(PYTHONPATH=":".join(paths), OMP_NUM_THREADS="1")
        self._folder, self._go = folder, folder / "go"
        # Trained undisturbed, beside what comes.
        self._undisturbed = subprocess.Popen(
            self.command("undisturbed", "workers=1"),
            env={**os.environ, "GO": str(folder)},
            stdout=subprocess.DEVNULL,
        )
        os.environ["GO"] = str(self._go)

    def command(self, study: str, *more: str) -> list[str]:
        return [sys.executable, "-m", "hiddenmix.train", *STUDY, *more, f"study={study}"]

    def study(self, name: str) -> Path:
        return self._folder / "outputs" / name

    def trainers(self, name: str) -> list[int]:
        """The processes that train a network which has a checkpoint."""
        return [process for process, saved in trainers(self.study(name)).items() if saved]

    def hold(self) -> None:
        self._go.unlink(missing_ok=True)

    def let_go(self) -> None:
        self._go.touch()

    def same(self, name: str) -> bool:
        """Whether the study `name` is the undisturbed one, to the bit; said too."""
        if self._undisturbed.wait(600):
            raise SystemExit("the undisturbed study failed")
        first, second = self.study("undisturbed"), self.study(name)
        equal = _weights(first) == _weights(second) and outcome(first) == outcome(second)
        networks = len(_weights(second))
        print(f"{name}: {networks} networks, {'the same' if equal else 'NOT THE SAME'} to the bit")
        return equal and networks == 9


def _weights(study: Path) -> dict[str, str]:
    return {
        each.parent.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in sorted(study.glob("cells/*/model.safetensors"))
    }
