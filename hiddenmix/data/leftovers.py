"""What systems, network drives and tools leave in people's folders, which is no part of a data set."""

import re
from collections import Counter
from pathlib import Path

from hiddenmix.config import counted, show

_FILES = {
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "zbthumbnail.info", "icon\r"),
}
_FOLDERS = {
    # archives, desktops and cards of phones
    *("__macosx", "network trash folder", "temporary items", "ipod photo cache"),
    *("thevolumesettingsfolder", "$recycle.bin", "lost.dir"),
    *("system volume information", "lost+found"),
    # network drives: Synology, QNAP, NetApp
    *("@eadir", "@recycle", "#recycle", "@recently-snapshot", "#snapshot", "~snapshot", "@tmp"),
    *("@synoresource", "@sharesnap", "@transcode", "@__thumb", "@sharebin"),
    # synchronisation and tools
    *("_gsdata_", "syncdebris", "__pycache__", "picasaoriginals"),
}
# In small letters these may be classes of waste.
_EXACTLY = re.compile(r"RECYCLE[RD]|(?i:found\.\d{3}|.*\.ffs_tmp)")
_CONFLICT = re.compile(
    r"\.sync-conflict-\d{8}-\d{6}|_conflict-\d{8}-\d{6}|\(sfconflict |"
    r"\([^()]*\b(conflicted copy|case conflict)\b",
    re.IGNORECASE,
)

NOT_HERE = (
    *(".icloud", ".nextcloud", ".owncloud", ".part", ".partial", ".crdownload", ".opdownload"),
    *(".download", ".filepart", ".aria2", ".!qb", ".!ut"),
)
"""What a cloud's placeholders and unfinished downloads end with."""


def is_leftover(name: str, *, folder: bool) -> bool:
    """Whether a file or folder of this name is hidden, or left by a system or tool.

    Some of them hold images: thumbnails (`@eaDir`), what was deleted (`#recycle`, `$RECYCLE.BIN`),
    former versions (`.stversions`), notebooks' copies (`.ipynb_checkpoints`).
    """
    if name.startswith("."):
        return True
    if folder:
        return name.casefold() in _FOLDERS or _EXACTLY.fullmatch(name) is not None
    return name.casefold() in _FILES or is_conflict(name)


def is_conflict(name: str) -> bool:
    """Whether synchronisation kept this file beside the one of which it is another version (Syncthing,
    Dropbox, Nextcloud, Seafile)."""
    return "onflict" in name and _CONFLICT.search(name) is not None  # the first half is fast


def kind(name: str, *, folder: bool) -> str:
    """What a file or folder that is skipped is counted under."""
    ending = Path(name).suffix.lower()
    if name.startswith("."):  # a Mac's placeholder of 0.jpg is .0.jpg.icloud
        return ending if ending in NOT_HERE else "hidden folder" if folder else "hidden"
    if not folder and is_conflict(name):
        return "conflicting version"
    if is_leftover(name, folder=folder):
        return f"{show(name)}/" if folder else show(name)
    return show(ending) or "without an ending"


def skipped_text(skipped: Counter[str]) -> str:
    """`skipped 3 .txt, 1 hidden, 1 @eaDir/`: the most frequent kinds, and how many more.

    A folder counts once, whatever it holds: nobody looked.
    """
    if not skipped:
        return ""
    most = sorted(skipped.items(), key=lambda each: (-each[1], each[0]))
    parts = [f"{count:,} {kind}" for kind, count in most[:8]]
    rest = sum(count for _, count in most[8:])
    parts += [f"{rest:,} of {counted(len(most) - 8, 'more kind')}"] if rest else []
    return f"skipped {', '.join(parts)}"
