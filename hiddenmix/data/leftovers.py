"""What systems, network drives and tools leave in people's folders, which is no part of a data set."""

_FILES = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "zbthumbnail.info", "icon\r"),
}
_FOLDERS = {
    # archives and desktops
    *("__macosx", "network trash folder", "temporary items", "ipod photo cache"),
    *(
        "$recycle.bin",
        "recycler",
        "recycled",
        "system volume information",
        "found.000",
        "lost+found",
    ),
    # network drives: Synology, QNAP, NetApp
    *("@eadir", "@recycle", "#recycle", "@recently-snapshot", "#snapshot", "~snapshot", "@tmp"),
    *("@synoresource", "@sharesnap", "@transcode"),
    # synchronisation and tools
    *("_gsdata_", "__pycache__", "picasaoriginals"),
}


def is_leftover(name: str, *, folder: bool) -> bool:
    """Whether a file or folder of this name is hidden, or left by a system or tool.

    Some of them hold images: thumbnails (`@eaDir`), what was deleted (`#recycle`, `$RECYCLE.BIN`),
    former versions (`.stversions`), notebooks' copies (`.ipynb_checkpoints`).
    """
    return name.startswith(".") or name.casefold() in (_FOLDERS if folder else _FILES)
