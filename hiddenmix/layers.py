"""`python -m hiddenmix.layers model=...`: the layers at which a network can be mixed."""

import sys

from hydra import compose, initialize_config_dir
from rich.console import Console
from rich.table import Table

from hiddenmix.config import Config, check_meaning, config_folder, from_hydra, register
from hiddenmix.terminal import VERSION, guarded

USAGE = """usage: python -m hiddenmix.layers [model=...] [dataset=...] [key=value ...]

Lists the layers at which `layer=` can mix a network, with the shape of their output for the images
of the data set (default: model=cnn dataset=digits), and marks those where mixing the map is image
mixup in disguise, because the network is affine up to there."""


def main() -> int:
    """The command line; returns the exit code, 2 for a user's mistake."""
    for flags, text in (({"-h", "--help"}, USAGE), ({"--version"}, VERSION)):
        if flags & set(sys.argv[1:]):
            print(text)  # noqa: T201
            return 0
    return guarded(_run)


def _run() -> int:
    register()
    with initialize_config_dir(str(config_folder()), version_base="1.3"):
        config = from_hydra(compose(config_name="config", overrides=sys.argv[1:]))
    check_meaning([config])
    _print(config)
    return 0


def _print(config: Config) -> None:
    from hiddenmix.data import describe
    from hiddenmix.networks import layers_of
    from hiddenmix.study import model_name

    description = describe(config.dataset)
    table = Table("layer", "output", "", title=f"{model_name(config)}: layers that can be mixed")
    for layer in layers_of(config.model, description.shape, description.classes):
        note = "image mixup in disguise" if layer.disguise else ""
        table.add_row(layer.name, "x".join(map(str, layer.shape)), note)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    sys.exit(main())
