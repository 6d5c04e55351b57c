"""`model=import`: a network of the user's own, or of an installed package."""

import inspect
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from hiddenmix.config import ConfigError, ImportConfig, UserError, check_current, source_digest
from hiddenmix.networks.lazy_modules import initialise
from hiddenmix.terminal import clean


def imported_network(config: ImportConfig, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """What `model.target` makes, called with `model.arguments`, and where its signature has them with
    `classes` or `num_classes`, `shape`, and `in_channels` if it has no default.

    Raises `UserError`, also where the code is not that of `config.source`, or another was imported.
    """
    if config.source not in (None, source_digest(config.target)):
        raise UserError(
            f"model.target={config.target}: its code has changed since\n"
            "  put it back as it was, or train again in a new command"
        )
    module_name, _, name = config.target.rpartition(".")
    module = _told(config, f"importing {module_name}", lambda: import_module(module_name))
    check_current("model.target", config.target, module)
    if not callable(target := getattr(module, name, None)):
        here = [key for key, value in vars(module).items() if inspect.isclass(value)]
        own = [key for key in here if getattr(module, key).__module__ == module.__name__]
        known = ", ".join(f"{module_name}.{key}" for key in own) or "a class or function in it"
        raise ConfigError("model.target", config.target, known)
    data = {"classes": classes, "num_classes": classes, "shape": shape, "in_channels": shape[0]}
    arguments = _with_data(target, config.arguments or {}, data)
    network = _told(config, f"calling {config.target}", lambda: target(**arguments))
    if not isinstance(network, nn.Module):
        raise UserError(
            f"model.target={config.target} made a {type(network).__name__}\n"
            "  allowed: what makes a torch.nn.Module"
        )
    size = "x".join(map(str, shape))
    _told(config, f"running it on {size} images", lambda: initialise(network, shape))
    return network


def _with_data(
    target: Callable[..., Any], given: dict[str, Any], data: dict[str, Any]
) -> dict[str, Any]:
    try:
        known = inspect.signature(target).parameters
    except (TypeError, ValueError):  # some compiled ones have none
        return dict(given)
    if (own := known.get("in_channels")) is not None and own.default is not own.empty:
        del data["in_channels"]  # it may mean those of a layer within
    return {**{key: value for key, value in data.items() if key in known}, **given}


def _told(config: ImportConfig, what: str, act: Callable[[], Any]) -> Any:
    """What `act` returns; where the user's code fails, its error in two lines, with the place."""
    try:
        return act()
    except UserError:
        raise
    except Exception as error:
        *_, last = traceback.extract_tb(error.__traceback__)
        place = f"{Path(last.filename).name}:{last.lineno}"
        if last.filename == __file__:  # the call itself does not fit
            place = "model.arguments={name: value} gives it others"
        if isinstance(error, SyntaxError) and error.filename:
            place = f"{Path(error.filename).name}:{error.lineno}"
        kind = type(error).__name__
        raise UserError(
            f"model.target={config.target}: {what} failed\n  {kind}: {clean(error, 400)} ({place})"
        ) from error
