"""`python -m hiddenmix.evaluate outputs/<study>`: add what finished cells lack, without retraining."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from hiddenmix.config import UserError, show
from hiddenmix.terminal import VERSION, Parser, guarded


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code, 2 for a user's mistake."""
    parser = Parser(
        prog="python -m hiddenmix.evaluate",
        description="Measure the finished cells of a study on shifted, adversarial and outside test "
        "images, or with --distance how far mixing at a layer is from mixing images; what is measured "
        "already is skipped.",
    )
    parser.add_argument("study", type=Path, help="the study's folder, such as outputs/default")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda:1, mps ...")
    parser.add_argument("--dataset-root", help="the data's folder, if it has moved since")
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        help="what dataset=import or model=import names, which is code: it is imported only where it is "
        "named here",
    )
    parser.add_argument(
        "--outside",
        action="append",
        metavar="NAME=PATH",
        help="an outside set, as dataset.outside of the training command; any number of them",
    )
    parser.add_argument("--images", type=int, help="at most so many test images for each condition")
    parser.add_argument(
        "--distance",
        action="store_true",
        help="instead measure, at each layer, how far mixing there is from mixing images, and how the "
        "rest of a plainly trained network reads mixed maps (docs/why.md): mixing_distance.csv",
    )
    parser.add_argument("--version", action="version", version=VERSION)
    options = parser.parse_args(arguments)
    return guarded(lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    outside: dict[str, str] | None = None
    for each in options.outside or ():
        name, equals, path = each.partition("=")
        if not (name and equals and path):
            raise UserError(f"--outside={show(each)} is not allowed\n  allowed: NAME=PATH")
        if name in (outside or {}):
            raise UserError(
                f"--outside={show(each)} is not allowed: {show(name)} is given twice\n"
                "  allowed: each set under a name of its own"
            )
        outside = {**(outside or {}), name: path}
    if options.images is not None and options.images < 1:
        raise UserError(f"--images={options.images} is not allowed\n  allowed: 1 or more")
    if options.distance and outside is not None:
        raise UserError("--outside is not allowed with --distance\n  allowed: one of them")
    from hiddenmix.study import evaluate_study  # loads torch

    return evaluate_study(
        options.study,
        options.device,
        root=options.dataset_root,
        targets=options.target,
        outside=outside,
        images=options.images,
        distances=options.distance,
    )


if __name__ == "__main__":
    sys.exit(main())
