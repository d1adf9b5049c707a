"""Zip files that come from elsewhere, unpacked without believing anything they say.

Names that leave the folder, links, names that meet on some file systems, encrypted entries and
archives that unpack to far more than they are, are refused before or while a byte is written.
"""

from __future__ import annotations

import hashlib
import shutil
import stat
import unicodedata
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dtvg.errors import StoreError

PIECE = 1 << 20
SMALL = 1 << 20
"""Bytes below which nobody asks how well an entry was packed."""
LONGEST = 200
"""Characters of one part of a name."""
FORBIDDEN = set('<>:"|?*\\')
"""Signs that some file system takes for something else."""


@dataclass(frozen=True)
class Bounds:
    """What an archive may hold."""

    entries: int = 200_000
    size: int = 64 << 30
    """Bytes unpacked."""
    ratio: int = 250
    """Times that an entry may unpack to its packed size."""


SMALL_ONES = Bounds(64, 512 << 20)
"""Of a prompt."""


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive.

    Raises:
        StoreError: it is no zip file, or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, EOFError) as error:
        why = str(error) or "it is cut off"
        raise StoreError(
            f"'{path.name}' is damaged or no zip file ({why}); export it again."
        ) from None
    except OSError as error:
        raise StoreError(f"'{path}' cannot be read ({error.strerror or error}).") from None


def entries(archive: zipfile.ZipFile, bounds: Bounds = Bounds()) -> dict[str, zipfile.ZipInfo]:
    """Return an archive's files by name, folders left out, after judging what it says of itself.

    Raises:
        StoreError: an entry that may not be unpacked, by name.
    """
    infos = [one for one in archive.infolist() if not one.is_dir()]
    if len(infos) > bounds.entries:
        raise StoreError(
            f"The archive has {len(infos):,} files, more than the {bounds.entries:,} allowed."
        )
    found: dict[str, zipfile.ZipInfo] = {}
    seen: set[str] = set()
    for info in infos:
        _check(info, bounds)
        one = alike(info.filename)
        if one in seen:
            raise StoreError(f"The archive has two files '{info.filename[:200]}'; make it again.")
        seen.add(one)
        found[info.filename] = info
    total = sum(info.file_size for info in infos)
    if total > bounds.size:
        raise StoreError(
            f"The archive unpacks to {total >> 20:,} MiB, more than the {bounds.size >> 20:,} MiB "
            "allowed."
        )
    return found


def alike(name: str) -> str:
    """Return what some file system takes a name for."""
    return unicodedata.normalize("NFC", name).casefold()


def is_odd(sign: str) -> bool:
    """Whether a sign cannot be in every name; one that is no text stands for a byte of Linux."""
    return ord(sign) < 32 or sign in FORBIDDEN or "\ud800" <= sign <= "\udfff"


def is_usable(name: str) -> bool:
    """Whether a name stays in its folder and can be one on every file system."""
    parts = name.split("/")
    leaves = PurePosixPath(name).is_absolute() or any(part in ("..", ".") for part in parts)
    odd = any(map(is_odd, name))
    return not leaves and not odd and all(0 < len(part) <= LONGEST for part in parts)


def _check(info: zipfile.ZipInfo, bounds: Bounds) -> None:
    name = info.filename
    if not is_usable(name):
        raise StoreError(
            f"The archive has a file '{name[:200]!s}', whose name leaves its folder or cannot be "
            "used everywhere; nothing was unpacked."
        )
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise StoreError(
            f"'{name[:200]}' in the archive is a link or a device, not a file; nothing was "
            "unpacked."
        )
    if info.flag_bits & 0x1:
        raise StoreError(f"'{name[:200]}' in the archive is encrypted; make it without a password.")
    if info.file_size > SMALL and info.file_size > bounds.ratio * max(1, info.compress_size):
        raise StoreError(
            f"'{name[:200]}' in the archive unpacks to {info.file_size >> 20:,} MiB from "
            f"{info.compress_size >> 10:,} KiB, which no export does; nothing was unpacked."
        )


def unpack_one(archive: zipfile.ZipFile, info: zipfile.ZipInfo, into: Path) -> str:
    """Unpack a file that `entries` returned; return the SHA-256 of what was written.

    Raises:
        StoreError: it is damaged, longer than it says, or the disk refuses.
    """
    place = into / info.filename
    digest, left = hashlib.sha256(), info.file_size
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(info) as source, place.open("xb") as target:
            while piece := source.read(PIECE):
                left -= len(piece)
                if left < 0:
                    raise StoreError(
                        f"'{info.filename}' unpacks to more than the archive says; it is damaged."
                    )
                digest.update(piece)
                target.write(piece)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"'{place}' cannot be written ({error.strerror or error}).") from None
    except Exception as error:  # noqa: BLE001 - zlib, lzma and bz2 raise errors of their own kinds
        raise StoreError(
            f"'{info.filename}' in the archive is damaged ({error}); export it again."
        ) from None
    if left:
        raise StoreError(f"'{info.filename}' in the archive is cut off; export it again.")
    return digest.hexdigest()


def unpack(path: Path, into: Path, bounds: Bounds = SMALL_ONES) -> None:
    """Unpack a small archive.

    Raises:
        StoreError: as `entries` and `unpack_one`.
    """
    with opened(path) as archive:
        for info in entries(archive, bounds).values():
            unpack_one(archive, info, into)


def room_for(size: int, folder: Path) -> None:
    """Refuse to unpack what the disk has no room for.

    Raises:
        StoreError: with how much is missing.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if size > free:
        raise StoreError(
            f"The archive unpacks to {size >> 20:,} MiB, and '{folder}' has {free >> 20:,} MiB "
            "free; make room first."
        )
