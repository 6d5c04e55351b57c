"""A user's mistake in words, and how values and counts are shown in them."""


class UserError(Exception):
    """A user's mistake. Its text, at most two lines, is all that the user sees; never a traceback."""


class ConfigError(UserError):
    """A configuration value that is not allowed: names the key, the value and what is allowed."""

    def __init__(self, key: str, value: object, allowed: str) -> None:
        self.key = key
        self._parts = (key, value, allowed)
        super().__init__(f"{key}={show(value)} is not allowed\n  allowed: {allowed}")

    def __reduce__(self) -> tuple[type["ConfigError"], tuple[str, object, str]]:
        return ConfigError, self._parts  # it comes back from a launcher's workers as it left


def show(value: object) -> str:
    """A value as the user would type it on the command line, on one line of at most 80 characters."""
    if isinstance(value, (list, tuple)):
        text = "[" + ",".join(show(item) for item in value) + "]"
    elif isinstance(value, bool) or value is None:
        text = {True: "true", False: "false", None: "null"}[value]
    else:
        text = str(value)
    text = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
    return text if len(text) <= 80 else text[:77] + "..."


def counted(number: int, noun: str) -> str:
    """`1 network`, `2 networks`, `1,234 classes`; of `noun`'s last word, in the singular."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"
