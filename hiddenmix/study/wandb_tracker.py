"""Weights & Biases: a run for each cell, offline unless the user has a key."""

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from typing import Literal

import wandb

from hiddenmix.study.pictures import Picture
from hiddenmix.study.tracking import SCALARS, Ended, Tracked
from hiddenmix.system import atomic

FOLDER = "wandb"
"""Below the cell's folder, where Weights & Biases keeps its runs."""


class WeightsAndBiases:
    """The run of one cell, as `Tracker`. Its id stays in the cell's folder.

    Weights & Biases cannot go on with a run offline: of two parts with one id the later one replaces the
    former when they are uploaded. So what goes on is written anew, with all its epochs, under its id.
    """

    def __init__(self, cell: Tracked) -> None:
        self._cell = cell
        folder = cell.folder / FOLDER
        if folder.is_symlink():  # it would lead out of the study
            folder.unlink()
        shutil.rmtree(folder, ignore_errors=True)
        settings = wandb.Settings(
            console="off", silent=True, disable_git=True, save_code=False, x_disable_stats=True
        )
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or f"hiddenmix-{cell.study.name}",
            id=self._id(),
            name=cell.folder.name,
            group=cell.setting,
            config=dict(cell.parameters),
            dir=str(cell.folder),
            mode=_mode(),
            reinit="create_new",
            settings=settings,
        )
        for line in cell.lines:
            self.epoch(line)

    def _id(self) -> str:
        kept = self._cell.folder / "wandb_run"
        try:
            known = kept.read_text(encoding="utf-8")
        except (OSError, ValueError):
            known = ""
        if not (known.isalnum() and known.isascii()):
            known = secrets.token_hex(4)
            atomic.write_text(kept, known)
        return known

    def epoch(self, line: Mapping[str, float]) -> None:
        values = {tag: line[key] for key, tag in SCALARS.items() if key in line}
        self._run.log(values, step=int(line["epoch"]))

    def pictures(self, pictures: Sequence[Picture]) -> None:
        images = {
            picture.tag: wandb.Image(picture.image.permute(1, 2, 0).numpy(), caption=picture.title)
            for picture in pictures
        }
        self._run.log(images)  # beside the last epoch that is written

    def result(self, metrics: Mapping[str, float], step: int) -> None:
        self._run.summary.update(dict(metrics))

    def close(self, ended: Ended) -> None:
        if ended == "stopped":
            self._run.mark_preempting()
        self._run.finish(exit_code=0 if ended == "done" else 1)


def _mode() -> Literal["online", "offline"] | None:
    """Weights & Biases' own choice (WANDB_MODE), online with a key, else offline."""
    if os.environ.get("WANDB_MODE"):
        return None
    return "online" if wandb.login(prompt=False, verify=False) else "offline"
