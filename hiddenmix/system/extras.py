"""How to install what an extra of the package brings, for who lacks it."""

import re
import shlex
from importlib.metadata import PackageNotFoundError, requires


def install_extra(extra: str) -> str:
    """`pip install 'optuna>=5'`: the packages of an extra by their own names, which an index has wherever
    hiddenmix itself was installed from."""
    try:
        needed = requires("hiddenmix") or []
    except PackageNotFoundError:
        needed = []
    own = [each for each in needed if re.search(rf"extra == ['\"]{extra}['\"]", each)]
    if not own:  # never installed, or before there was such an extra
        return f'pip install -e ".[{extra}]" in the folder of hiddenmix'
    return " ".join(["pip install", *(shlex.quote(each.partition(";")[0].strip()) for each in own)])
