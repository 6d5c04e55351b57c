"""What a tuning is asked for: its fixed keys, what each side searches, and what is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from hiddenmix import data as data_room
from hiddenmix import networks
from hiddenmix.config import (
    MODES,
    Choice,
    Compositions,
    Config,
    ConfigError,
    Range,
    Space,
    UserError,
    check_meaning,
    compose_each,
    layers,
    show,
)
from hiddenmix.study.planning import check_requests
from hiddenmix.terminal import explain, layer_text

SIDES = {"hidden": "hidden layer", "input": "images"}
"""The two sides of a tuned comparison."""

_NOT_TUNED = (
    *("seed", "repeats", "max_repeats", "baseline", "margin", "study", "device", "workers"),
    *("threads", "evaluation", "evaluation_images", "evaluate_every", "checkpoint_seconds"),
    *("compile", "precision"),
)
"""Keys that are no part of what is compared; those of the data, its augmentation aside, neither."""

_MEANINGLESS = {
    "baseline": "leave it out: image mixup is the other side, tuned as well",
    "max_repeats": "leave it out: repeats=<seeds of a trial>, final_repeats=<seeds of the test>",
}

_TIMES = 5.0
"""The learning rate is searched from a fifth to five times the configuration's."""


@dataclass(frozen=True)
class Request:
    """What a tuning is asked for."""

    fixed: Sequence[str]
    """Overrides that give a key one value."""
    space: Space
    """What is searched at a hidden layer; image mixup has no `layer`."""
    trials: int
    """Of each side."""
    final_repeats: int
    """Seeds of the comparison on the test images."""
    _composed: Compositions = field(default_factory=dict, repr=False, compare=False)

    def compose(self, jobs: Sequence[list[str]]) -> list[Config]:
        """The checked configurations of lists of overrides, without baselines. Raises `UserError`."""
        try:
            found = compose_each(jobs, self._composed)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(explain(error)) from error
        return [replace(config, baseline=False) for config in found]

    def side(self, side: str) -> Space:
        """What a side searches."""
        return {key: each for key, each in self.space.items() if side == "hidden" or key != "layer"}

    def first(self, base: Config, side: str) -> dict[str, Any]:
        """The configuration's own values, with which a search begins, as far as the space has them."""
        found: dict[str, Any] = {}
        for key, each in self.side(side).items():
            value: Any = base
            for part in key.split("."):
                value = getattr(value, part, None)
            if isinstance(each, Choice):
                for text in (show(value), layer_text(show(value))):
                    found |= {key: text} if text in each.values else {}
            elif each.step is None and isinstance(value, (int, float)):
                found |= {key: value} if each.low <= value <= each.high else {}
        return found

    def extremes(self, side: str) -> list[dict[str, str]]:
        """For each value of a choice and both ends of a range, a setting that has it, and otherwise the
        first value of each key."""
        values = {
            key: each.values if isinstance(each, Choice) else each.ends
            for key, each in self.side(side).items()
        }
        first = {key: own[0] for key, own in values.items()}
        others = [first | {key: each} for key, own in values.items() for each in own[1:]]
        return [first, *others]


def side_overrides(request: Request, side: str, values: Mapping[str, str]) -> list[str]:
    """The overrides of a setting of a side."""
    fixed = [each for each in request.fixed if side == "hidden" or not each.startswith("layer=")]
    own = [f"{key}={value}" for key, value in values.items()]
    return [*fixed, *own, *(["layer=input"] if side == "input" else [])]


def complete(request: Request) -> tuple[Request, Config]:
    """`request` with what it leaves open, and the configuration of its fixed keys.

    Where no key is searched: layer, mode, alpha and learning rate, but those that are fixed; and a fifth
    of the training images held out. Raises `UserError`.
    """
    keys = {each.partition("=")[0] for each in request.fixed}
    for key, text in _MEANINGLESS.items():
        if key in keys:
            raise UserError(f"{key} means nothing for a tuning\n  {text}")
    fixed = list(request.fixed)
    # An experiment file may give keys their values too, which stand.
    [given] = request.compose([fixed])
    if "study" not in keys and given.study == Config().study:
        fixed.append("study=tune")
    if "dataset.validation" not in keys and given.dataset.validation == 0:
        fixed.append("dataset.validation=0.2")
    [base] = request.compose([fixed])
    if base.dataset.validation == 0:
        raise ConfigError("dataset.validation", base.dataset.validation, "above 0 for a tuning")
    if base.repeats == "auto":
        raise ConfigError("repeats", "auto", "a whole number: the seeds of each trial")
    space = request.space
    if not space:
        check_requests([base])
        rate = base.optimizer.lr
        default: Space = {
            "layer": Choice(tuple(map(layer_text, _stages(base)))),
            "mode": Choice(tuple(MODES)),
            "alpha": Range(0.1, 4.0, log=True),
            "optimizer.lr": Range(rate / _TIMES, rate * _TIMES, log=True),
        }
        own = keys | _set_otherwise(base)
        space = {key: each for key, each in default.items() if key not in own}
        if not space:
            raise UserError(
                "nothing is left to tune\n  several values are written alpha=log(0.1,4)"
            )
    return replace(request, fixed=fixed, space=space), base


def _set_otherwise(base: Config) -> set[str]:
    """Those of the keys searched by default that have another value than theirs."""
    usual, rate = Config(), type(base.optimizer)().lr
    found = {key for key in ("layer", "mode", "alpha") if getattr(base, key) != getattr(usual, key)}
    return found | ({"optimizer.lr"} if base.optimizer.lr != rate else set())


def check_space(request: Request, base: Config) -> None:
    """Refuse what cannot be tuned, and every value that the configuration would; writes nothing.

    Raises `UserError`.
    """
    for key in request.space:
        group = key.partition(".")[0]
        if key in _NOT_TUNED or (group == "dataset" and key != "dataset.augment"):
            raise UserError(
                f"{key} cannot be tuned: it is no part of what is compared\n"
                f"  allowed: one value, such as {key}=<value>; layer, mode, alpha, optimizer.lr, ... "
                "may be searched"
            )
    jobs = [
        side_overrides(request, side, values) for side in SIDES for values in request.extremes(side)
    ]
    configs = request.compose(jobs)
    for config in configs[: len(request.extremes("hidden"))]:
        if layers(config) in (["none"], ["input"]):
            raise ConfigError(
                "layer", config.layer, "hidden layers; image mixup is tuned beside them in any case"
            )
    check_meaning(configs)
    check_requests([base, *configs])
    last = base.seed + base.repeats + request.final_repeats
    if last > 2**32 - 1:
        raise ConfigError("seed", base.seed, "seed + repeats + final_repeats below 2**32")


def _stages(base: Config) -> list[str]:
    shape = data_room.describe(base.dataset)
    survey = networks.survey_of(base.model, shape.shape, shape.classes)
    found = [layer.name for layer in networks.stages(survey.layers)]
    if not found:
        raise UserError("this network has no stage to mix at\n  name layers: layer=<name>,<name>")
    return found
