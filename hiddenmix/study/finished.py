"""The networks that a study has trained, from its files."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load as safetensors_read
from torch import Tensor, nn

from hiddenmix import data as data_room
from hiddenmix import networks, randomness
from hiddenmix.config import Config, ImportConfig, UserError, from_plain, show
from hiddenmix.study import predictions
from hiddenmix.study.store import Cell


def stored_network(
    folder: Path, config: Config, result: dict[str, Any], shape: tuple[int, int, int], classes: int
) -> nn.Module:
    """The network of a finished cell, on the CPU, in training mode as networks are built.

    Raises `OSError` or `ValueError` where the weights cannot be read or are not the result's own.
    """
    with randomness.default_generators(config.seed, "init"):
        network = networks.bare(config.model, shape, classes)
    stored = (folder / "model.safetensors").read_bytes()
    if result.get("weights") not in (None, predictions.digest(stored)):
        raise ValueError("model.safetensors is damaged, or not of the run that wrote result.json")
    try:
        network.load_state_dict(safetensors_read(stored))
    except SafetensorError as error:
        raise ValueError(f"model.safetensors is damaged: {error}") from error
    return network


def code_of(config: Config) -> set[str]:
    """What a configuration would import of a user's: functions and classes, as it names them."""
    found = {config.dataset.target if config.dataset.name == "import" else None}
    if isinstance(config.model, ImportConfig):
        found.add(config.model.target)
    return {each for each in found if each is not None}


class FinishedNetwork(nn.Module):
    """A trained network with what it needs: images [B, C, H, W] in, logits [B, classes] out.

    Images are uint8, or floating point in [0, 1]; they are normalised here as in training.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Tensor,
        std: Tensor,
        classes: list[str],
        shape: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.network = network
        self.classes = classes
        """Names, in the order of the logits."""

        self.shape = shape
        """Channels, height and width of the images that it was trained on."""

        self.register_buffer("mean", mean.view(-1, 1, 1))
        self.register_buffer("std", std.view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1] != self.shape[0]:
            raise ValueError(
                f"images have the shape {tuple(images.shape)}; hiddenmix expects [B, C, H, W] with "
                f"C = {self.shape[0]}"
            )
        if not images.is_floating_point():
            if images.dtype != torch.uint8:
                raise TypeError(f"images are {images.dtype}; hiddenmix expects uint8 or [0, 1]")
            images = images.to(self.mean.dtype) / 255
        logits: Tensor = self.network((images - self.mean) / self.std)
        return logits


def load(folder: str | Path, target: str | None = None) -> FinishedNetwork:
    """The finished network in a cell's folder (`outputs/<study>/cells/<cell>`), in evaluation mode, on
    the CPU, with its normalisation and class names.

    `target`: of `model=import`, what the network is made by, which is code and is imported only where it
    is named. Raises `UserError` where the folder holds no finished cell, or its weights are damaged.
    """
    folder = Path(folder)
    result = Cell.read(folder / "result.json")
    if result is None:
        raise UserError(f"{show(folder)} holds no finished network\n  expected: a cell's folder")
    config = from_plain(result["config"])
    if isinstance(config.model, ImportConfig) and config.model.target != target:
        named = show(config.model.target)
        raise UserError(
            f"the network in {show(folder)} is made by code of its own\n"
            f"  to import that: load(..., target={named!r})"
        )
    try:
        with safe_open(str(folder / "model.safetensors"), "pt") as file:
            told = json.loads((file.metadata() or {})["hiddenmix"])
        shape = tuple(told.get("shape") or data_room.describe(config.dataset).shape)
        network = stored_network(folder, config, result, shape, len(told["classes"]))
    except (OSError, ValueError, KeyError, SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"the network in {show(folder)} cannot be read: {reason}") from error
    mean, std = torch.tensor(told["mean"]), torch.tensor(told["std"])
    return FinishedNetwork(network, mean, std, told["classes"], shape).eval()
