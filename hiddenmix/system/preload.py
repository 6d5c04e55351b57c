"""What the server that workers come from imports, by name, before the first of them is needed."""

from importlib import import_module

try:
    import_module("hiddenmix.study.worker")
except Exception as error:
    # Such as of a working folder that is gone, since the command has ended meanwhile. Of this kind of
    # error alone the server says nothing and goes on.
    raise ImportError("workers will import what they need by themselves") from error
