"""What somebody who typed another name meant: keys, flags and networks as other programs call them."""

import difflib
import re
from collections.abc import Iterable
from typing import get_type_hints

from hiddenmix.config import GROUPS, UserError, all_keys, show
from hiddenmix.terminal.signs import plain

_ALIKE = {
    **dict.fromkeys(("learning_rate", "lrate", "eta", "lr0", "base_lr", "max_lr"), "optimizer.lr"),
    **dict.fromkeys(("wd", "decay", "l2"), "optimizer.weight_decay"),
    **dict.fromkeys(("lr_schedule", "lr_scheduler", "scheduler"), "optimizer.schedule"),
    **dict.fromkeys(("batch", "bs", "batchsize", "train_batch_size"), "batch_size"),
    **dict.fromkeys(("num_epochs", "n_epochs", "max_epochs", "ep"), "epochs"),
    **dict.fromkeys(("gpu", "gpus", "cuda", "accelerator"), "device"),
    **dict.fromkeys(("num_workers", "n_jobs", "jobs", "processes"), "workers"),
    **dict.fromkeys(("data", "dataset_name", "task"), "dataset"),
    **dict.fromkeys(("data_dir", "data_path", "data_root", "path", "folder"), "dataset.root"),
    **dict.fromkeys(("image_size", "img_size", "imgsz"), "dataset.resize"),
    **dict.fromkeys(("val_split", "val_fraction", "valid"), "dataset.validation"),
    **dict.fromkeys(("network", "net"), "model"),
    **dict.fromkeys(("architecture", "backbone", "model_name"), "model.arch"),
    **dict.fromkeys(("pretrained", "checkpoint", "ckpt"), "model.weights"),
    **dict.fromkeys(("random_seed", "manual_seed", "rng"), "seed"),
    **dict.fromkeys(("n_seeds", "num_seeds", "seeds", "trials", "runs", "n"), "repeats"),
    **dict.fromkeys(("name", "run_name", "exp_name", "output", "output_dir", "out"), "study"),
    **dict.fromkeys(("amp", "fp16", "bf16", "dtype"), "precision"),
    **dict.fromkeys(("mix_layer", "mixup_layer", "layer_name", "where"), "layer"),
    **dict.fromkeys(("mixup_alpha", "mixup", "beta"), "alpha"),
    **dict.fromkeys(("logger", "log", "tensorboard", "wandb", "mlflow"), "tracker"),
    **dict.fromkeys(("optim", "opt"), "optimizer"),
}
"""What others call a key, which is spelled too differently to be found by its letters."""

_NETWORK = re.compile(
    r"(alexnet|convnext|densenet|efficientnet|googlenet|inception|maxvit|mnasnet|mobilenet|regnet|resne[tx]t?|"
    r"shufflenet|squeezenet|swin|vgg|vit|wide_resnet)\w*$",
    re.IGNORECASE,
)
"""Families of torchvision."""


def nearest_key(key: str) -> str | None:
    """The key of the configuration that is called nearly so, or so elsewhere, if there is one."""
    keys = list(all_keys())
    key = plain(key).lower().lstrip("+~-").replace("-", "_").replace("/", ".")
    last = key.rsplit(".", maxsplit=1)[-1]
    if key in keys:
        return key
    same = [each for each in keys if each.rsplit(".", maxsplit=1)[-1] == last]
    known = [_ALIKE[last]] if last in _ALIKE else []
    alike = [] if "." in key else difflib.get_close_matches(key, keys, 1, 0.75)
    ends = {each.rsplit(".", maxsplit=1)[-1]: each for each in reversed(keys)}
    alike += [ends[each] for each in difflib.get_close_matches(last, ends, 1, 0.75)]
    return next(iter(same + known + alike), None)


def needed_group(key: str) -> str | None:
    """`model=torchvision` for `model.arch`: what has to be chosen for a key of one file of a group."""
    group, _, name = key.partition(".")
    kinds = [kind().name for kind in GROUPS.get(group, ()) if name in get_type_hints(kind)]
    return f"{group}={'|'.join(kinds)}" if name and kinds else None


def network(name: str) -> str | None:
    """How a network of torchvision is chosen, if `name` is like one's."""
    name = name.rsplit("/", maxsplit=1)[-1]
    return f"model=torchvision model.arch={name.lower()}" if _NETWORK.match(name) else None


def no_hydra(key: str) -> str:
    """For `${hydra:...}` in a value: a job's configuration is read before Hydra knows of the job."""
    return f"${{hydra:...}} cannot be used in {show(key)}\n  allowed: ${{<key>}}, ${{now:...}}"


def unknown_flag(
    flag: str, value: str, command: str, known: Iterable[str], *, configured: bool = True
) -> UserError:
    """For a flag that is nowhere, or `--epochs 3`, which is `epochs=3` of a `configured` command."""
    name = flag.lstrip("-")
    flags = [each for each in known if each.startswith("--")]
    if near := difflib.get_close_matches(f"--{name.lower()}", flags, 1, 0.8):
        return UserError(f"{show(flag)} is no flag of {command}\n  did you mean {near[0]}?")
    if configured and len(name) > 1 and (key := nearest_key(name)):
        shown = show(value) if value else "<value>"
        return UserError(f"{show(flag)} is no flag of {command}\n  write {key}={shown}")
    help_text = f"see python -m hiddenmix.{command} --help"
    listed = f"allowed: {', '.join(flags)}" if len(flags) < 6 else help_text
    return UserError(f"{show(flag)} is no flag of {command}\n  {listed}")
