"""hiddenmix: where in a network does mixup help?

Mixing in your own training loop::

    draw = hiddenmix.draw(generator, len(images), mode="siamese", alpha=1.0)
    with hiddenmix.mixing_at(network, "layer1", draw):
        logits = network(images)
    loss = hiddenmix.mixed_cross_entropy(logits, labels, draw)

Whole experiments, as `python -m hiddenmix.train` runs them, and the networks that they leave::

    table = hiddenmix.run(["layer=conv1", "mode=triplet"], study="mine")
    network = hiddenmix.load("outputs/mine/cells/" + table["cell"][0])

The names load torch only when they are used, so that the report and `--help` start without it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hiddenmix.config import UserError
    from hiddenmix.mixing import (
        Draw,
        cutmix,
        draw,
        mix,
        mixed_cross_entropy,
        mixed_loss,
        mixed_targets,
        mixing_at,
    )
    from hiddenmix.networks import mixable_layers
    from hiddenmix.report import results
    from hiddenmix.study import load, run

    __version__: str

__all__ = [
    "Draw",
    "UserError",
    "__version__",
    "cutmix",
    "draw",
    "load",
    "mix",
    "mixable_layers",
    "mixed_cross_entropy",
    "mixed_loss",
    "mixed_targets",
    "mixing_at",
    "results",
    "run",
]

_ROOMS = {
    **{"UserError": "config", "mixable_layers": "networks", "results": "report"},
    **{"load": "study", "run": "study"},
}
"""Where a name lies that is not of the room `mixing`."""


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'hiddenmix' has no attribute {name!r}")
    if name == "__version__":  # it stands in pyproject.toml
        from importlib import metadata

        return metadata.version("hiddenmix")
    from importlib import import_module

    room = _ROOMS.get(name, "mixing")
    return getattr(import_module(f"hiddenmix.{room}"), name)
