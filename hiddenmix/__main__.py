"""`python -m hiddenmix`: what commands there are."""

import sys

from hiddenmix.terminal import VERSION

COMMANDS = f"""{VERSION}: where in a network does mixup help?
  python -m hiddenmix.train layer=conv1 mode=triplet    train a setting beside its baselines; -m sweeps
  python -m hiddenmix.layers model=cnn                  the layers at which a network can be mixed
  python -m hiddenmix.tune trials=20                    tune hidden layers and image mixup, compare both
  python -m hiddenmix.report outputs/<study>            a study's verdict, tables and figures
  python -m hiddenmix.evaluate outputs/<study>          add shifted and adversarial tests to a study
Each of them explains itself with --help."""


def main() -> int:
    """The command; 0, or 2 where something was asked that it cannot do."""
    asked = sys.argv[1:]
    if asked in (["--version"], ["-V"]):
        print(VERSION)  # noqa: T201
        return 0
    known = asked in ([], ["-h"], ["--help"])
    if not known:
        sys.stderr.write(f"python -m hiddenmix runs nothing itself: {' '.join(asked)}\n")
        if f"python -m hiddenmix.{asked[0]} " in COMMANDS:
            sys.stderr.write(f"  write python -m hiddenmix.{' '.join(asked)}\n")
            return 2
    (sys.stdout if known else sys.stderr).write(COMMANDS + "\n")
    return 0 if known else 2


if __name__ == "__main__":
    sys.exit(main())
