"""What Hydra and OmegaConf complain of, in the user's words: the key, the value and what to type."""

import difflib
import re
from dataclasses import fields
from itertools import chain

from hiddenmix.config import GROUPS, Config, allowed, show, takes_list, takes_number
from hiddenmix.system import install_extra
from hiddenmix.terminal.hints import nearest_key, needed_group, network, no_hydra

_PACKAGES = {
    **dict.fromkeys(("submitit_slurm", "submitit_local"), "slurm"),
    **{"joblib": "joblib", "ray": "ray", "ray_aws": "ray"},
}
"""The extra that each launcher of another engine is in."""


def explain(error: BaseException) -> str:
    """A Hydra or OmegaConf error in at most two lines: the key, the value and what is allowed."""
    text = "\n".join(str(each) for each in (error, error.__cause__) if each is not None)
    for kind in (_file, _sweep, _interpolation, _value, _unknown):
        if found := kind(text):
            return found
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return show(lines[0])[:300] + "\n  see python -m hiddenmix.train --help"


def _file(text: str) -> str | None:
    """A name that no file of a group has."""
    if not (found := re.search(r"Could not find '([^']+)/([^'/]*)'", text)):
        return None
    group, name = found.groups()
    if group == "hydra/launcher" and name in _PACKAGES:
        return (
            f"hydra/launcher={show(name)} needs a package that is not installed\n"
            f"  {install_extra(_PACKAGES[name])}"
        )
    first = group.split("/")[0]
    if first == "model" and (meant := network(name)):
        given = f"{group}/{name}".partition("/")[2]
        return (
            f"model={show(given)} is not allowed\n  a network of torchvision is chosen with {meant}"
        )
    options = re.search(rf"Available options in '{re.escape(group)}':\n((?:\t.*\n?)*)", text)
    names = options.group(1).split() if options else []
    near = difflib.get_close_matches(name.lower(), names, 1, 0.7)
    head = f"{group}={show(name)} is not allowed" + (f"; did you mean {near[0]}?" if near else "")
    return f"{head}\n  allowed: {', '.join(names) if names else 'see --help'}"


def _sweep(text: str) -> str | None:
    """Several values, where there may be one."""
    if "does not support sweep type" in text:
        return (
            "interval(...) is a range without an end to its values\n"
            "  allowed in a sweep: values with commas, range(...), choice(...), glob(...)"
        )
    if found := re.search(r"Sweep parameters '(.+)' requires --multirun", text):
        return f"{show(found.group(1))} is more than one value\n  add -m to train each of them"
    if not (found := re.search(r"Ambiguous value for argument '([^=]+)=(.*)'", text)):
        return None
    key, values = found.groups()
    head = f"{show(key)}={show(values)} is more than one value\n  add -m to train each of them"
    if takes_number(key) and re.fullmatch(r"-?\d{1,3}(,\d{3})+", values):
        return f"{head}; one number is written {show(key)}={values.replace(',', '')}"
    if takes_number(key) and re.fullmatch(r"-?\d+,\d+", values):
        return f"{head}; a fraction is written {show(key)}={values.replace(',', '.')}"
    if takes_list(key) and "(" not in values:
        return f"{head}; one list is written {show(key)}=[{show(values)}]"
    return head


def _interpolation(text: str) -> str | None:
    """`${...}`, of which nothing is known."""
    if re.search(r"HydraConfig was not set|(key '|value:? ?)hydra\.", text):
        return no_hydra(_key(text) or "a value")
    if found := re.search(r"Environment variable '(.*?)' not found", text):
        return (
            f"${{oc.env:{show(found.group(1))}}}: that environment variable is not set\n"
            f"  set it, or write ${{oc.env:{show(found.group(1))},<otherwise>}}"
        )
    if found := re.search(r"Unsupported interpolation type (\w+)", text):
        kind = found.group(1)
        if kind.lower() in ("env", "environ", "environment", "oc_env"):
            return f"${{{kind}:...}} is not known\n  an environment variable is ${{oc.env:NAME}}"
        return f"${{{kind}:...}} is not known\n  allowed: ${{<key>}}, ${{oc.env:NAME}}, ${{now:%Y}}"
    if found := re.search(r"Interpolation key '(.*?)' not found", text):
        name = show(found.group(1))
        return (
            f"${{{name}}}: '{name}' not found among the keys of the configuration\n"
            f"  an environment variable is ${{oc.env:{name}}}"
        )
    return None


def _value(text: str) -> str | None:
    """A value of another type than its key's, or none at all."""
    if found := re.search(r"Missing mandatory value:? ?(\S+)", text):
        key = found.group(1)
        return f"{show(key)}=??? is not allowed\n  allowed: {allowed(key)}"
    if "Got NoneType" in text:
        return "null is no file of conf/\n  leave that argument out, or name a file"
    key = _key(text)
    wrong = (
        r"could not be converted|not a|Incompatible value|Cannot convert|not Optional|Invalid value"
    )
    if key is None and (found := re.search(r"merging override ([\w.]+)=", text)):
        key = found.group(1)
    if not (key and re.search(wrong, text)):
        return None
    value = re.search(rf"Value '(.*?)' of type|merging override {re.escape(key)}=(.*)", text)
    shown = show(value.group(1) or value.group(2)) if value else "that value"
    if key == "hydra.mode":
        return f"{key}={shown} is not allowed\n  allowed: RUN, MULTIRUN; or -m"
    plain = re.sub(r"\[\d+\]", "", key)  # model.channels[0]
    more = ""
    if (inside := re.fullmatch(r"\[(.+)\]", shown)) and not takes_list(plain):
        more = f"; several are {plain}={inside.group(1).replace(' ', '')} with -m"
    return f"{key}={shown} is not allowed\n  allowed: {allowed(plain)}{more}"


def _unknown(text: str) -> str | None:
    """A key that is none."""
    key = _key(text)
    if not (key and re.search(r"not in|Could not override|is not in struct|Key '", text)):
        return None
    head = f"{show(key)} is no key of the configuration"
    if key.startswith("hydra"):
        return f"{show(key)} is no key of Hydra's\n  see --cfg hydra"
    near = nearest_key(key)
    if near == key and (group := needed_group(key)):
        return f"{head} as it is chosen\n  add {group}, whose files have {show(key)}"
    if near is not None and near != key:
        group = needed_group(near) if near.split(".")[0] == "model" else None
        more = f", with {group}" if group else ""
        return f"{head}; did you mean {near}?\n  write {near}=<value>{more}"
    return f"{head}\n  allowed: {', '.join(_keys(key, text))}"


def _key(text: str) -> str | None:
    for pattern in (r"full_key: (\S+)", r"Could not override '([^']+)'", r"Key '([^']+)'"):
        if found := re.search(pattern, text):
            return found.group(1)
    return None


def _keys(key: str, text: str) -> list[str]:
    """The keys beside `key`: those of its group's class, which the error's `text` names."""
    group = key.split(".", maxsplit=1)[0]
    for node in chain.from_iterable(GROUPS.values()):
        if "." in key and re.search(rf"\b{node.__name__}\b", text):
            return [f"{group}.{field.name}" for field in fields(node)]
    return [field.name for field in fields(Config)]
