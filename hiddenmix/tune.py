"""`python -m hiddenmix.tune`: the best setting at a hidden layer against the best of image mixup."""

import re
import sys
from difflib import get_close_matches

from hiddenmix.config import UserError, read_space, show, without_log
from hiddenmix.terminal import (
    as_flags,
    as_hydra_reads,
    given_twice,
    plain,
    told_or_run,
    unknown_flag,
    without_config_dir,
)

USAGE = """usage: python -m hiddenmix.tune [trials=20] [final_repeats=6] [key=value ...] [key=a,b ...]

Tunes mixup at a hidden layer and image mixup with the same number of trials each, by accuracy on training
images that are held out; then trains both choices on all training images, with new seeds, and compares
them on the test images. Needs the extra `tune` (Optuna).

  trials=20           trials of each side; more of them go on from those that are there
  repeats=3           seeds of a trial; a setting below the median of the others is stopped early
  final_repeats=6     seeds of the comparison on the test images
  dataset.validation=0.2
                      share of the training images held out
  study=tune          folder below outputs/
  key=value           any key of python -m hiddenmix.train
  --config-dir DIR    a folder with your own files, such as DIR/model/mine.yaml for model=mine

What is searched, in Hydra's grammar:

  layer=conv1,conv2           one of these; a list (Manifold Mixup) is [input,conv1]
  "alpha=log(0.1,4)"          between these, on a log scale: short for tag(log,interval(0.1,4))
  "model.dropout=interval(0,0.5)"
                              between these
  "epochs=range(10,31,5)"     10, 15, 20, 25 or 30

Without any: layer over the network's stages, mode=siamese,triplet, alpha=log(0.1,4), and optimizer.lr
from a fifth to five times its value; keys that are given one value keep it. Image mixup searches the same
but the layer. The same command goes on where it was stopped, and several may run at once."""

_OWN = {"trials": 20, "final_repeats": 6}
"""Keys of this command alone, with their defaults."""


def main() -> int:
    """The command line; returns the exit code: 1 where networks failed, 2 for a user's mistake."""
    return told_or_run(USAGE, _run)


def _run() -> int:
    own, rest = dict(_OWN), []
    arguments, own_files = without_config_dir(as_flags(sys.argv[1:]))
    for number, argument in enumerate(arguments):
        key, equals, value = argument.partition("=")
        key = plain(key)
        if argument.startswith("-"):
            raise _refused_flag(key, value or "".join(arguments[number + 1 : number + 2]))
        if key in own and equals:
            value = plain(value).replace("_", "")
            if re.fullmatch(r"\d+\.0*|\d(\.\d+)?[eE]\+?\d", value):  # 20.0, 1e2
                value = f"{float(value):g}"
            if not re.fullmatch(r"[1-9]\d{0,4}", value):
                raise UserError(f"{key}={show(value)} is not allowed\n  allowed: 1 to 99999")
            own[key] = int(value)
        elif meant := get_close_matches(re.sub("^(n|num)_", "", key), _OWN, 1, 0.8):
            raise UserError(
                f"{show(argument)} is no key of tune\n  write {meant[0]}={show(value or '<n>')}"
            )
        else:
            rest.append(argument)
    # Commas are several values here, as in a sweep.
    fixed, space = read_space(as_hydra_reads(["-m", *without_log(rest)], "tune")[1:])
    fixed += own_files
    for line in given_twice(rest):
        sys.stderr.write(f"note: {line}\n")
    from hiddenmix.study import Request, tune  # loads torch

    return tune(Request(fixed, space, own["trials"], own["final_repeats"]), sys.argv[1:])


def _refused_flag(flag: str, value: str) -> UserError:
    own = flag.lstrip("-").replace("-", "_").removeprefix("n_")
    if own in _OWN:
        return UserError(f"{show(flag)} is no flag of tune\n  write {own}={show(value or '<n>')}")
    if flag in ("-m", "--multirun"):
        return UserError(f"{show(flag)} is no flag of tune\n  leave it out: a,b is searched")
    return unknown_flag(flag, value, "tune", ("--config-dir", "--help", "--version"))


if __name__ == "__main__":
    sys.exit(main())
