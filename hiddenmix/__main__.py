"""`python -m hiddenmix`: what commands there are, each of which it also runs by its name."""

import sys
from importlib import import_module
from typing import Any

from hiddenmix.config import show
from hiddenmix.terminal import VERSION, plain

COMMANDS = f"""{VERSION}: where in a network does mixup help?
  python -m hiddenmix.train layer=conv1 mode=triplet    train a setting beside its baselines; -m sweeps
  python -m hiddenmix.layers model=cnn                  the layers at which a network can be mixed
  python -m hiddenmix.tune trials=20                    tune hidden layers and image mixup, compare both
  python -m hiddenmix.report outputs/<study>            a study's verdict, tables and figures
  python -m hiddenmix.evaluate outputs/<study>          add shifted and adversarial tests to a study
Each of them explains itself with --help."""


_MODULES = {
    **{name: f"hiddenmix.{name}" for name in ("train", "layers", "tune", "evaluate")},
    "report": "hiddenmix.report.__main__",
}


def main() -> Any:
    """The command; 0, or 2 where something was asked that it cannot do."""
    asked = [plain(each) for each in sys.argv[1:]]
    if asked in (["--version"], ["-V"]):
        print(VERSION)  # noqa: T201
        return 0
    if asked and asked[0] in _MODULES:
        del sys.argv[1]
        return import_module(_MODULES[asked[0]]).main()
    known = asked in ([], ["-h"], ["--help"])
    if not known:
        sys.stderr.write(f"python -m hiddenmix has no command {show(' '.join(asked))}\n")
    (sys.stdout if known else sys.stderr).write(COMMANDS + "\n")
    return 0 if known else 2


if __name__ == "__main__":
    sys.exit(main())
