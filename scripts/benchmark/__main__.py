"""Every timing of the project, by name.

python scripts/benchmark speed           a training step beside the bare step and its peers
python scripts/benchmark many            many networks on one device: stacked, processes, streams
python scripts/benchmark checkpoints     what writing checkpoints costs
python scripts/benchmark scaling         a study on 16 and 64 cores, simulated from measured networks
python scripts/benchmark commands        whole commands with several workers: seconds and memory

`--help` after a name lists its options. Run them on a quiet machine; docs/measurements.md has their
numbers.
"""

import importlib
import sys

NAMES = ("speed", "many", "checkpoints", "scaling", "commands")


def main() -> int:
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        print(__doc__, file=sys.stderr)
        return 2
    # Modules lie beside this file, which Python puts on its path when it runs a folder.
    importlib.import_module(sys.argv.pop(1)).main()
    return 0


if __name__ == "__main__":
    sys.exit(main())
