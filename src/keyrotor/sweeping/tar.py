"""The members of a tar, read from front to back."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator

from keyrotor.sweeping.source import BrokenArchiveError, Member, Source

_EXTRA = 64 * 1024  # bytes: the longest note about a member that is read
_NO_DATA = frozenset(
    (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE)
)
_NOTES = frozenset((tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE))


def members(source: Source) -> Iterator[Member]:
    """Member by member, with the longer names and larger sizes that stand before some."""
    noted: dict[str, bytes] = {}  # what stands before a member of it: a longer name, a larger size
    while (block := source.take(tarfile.BLOCKSIZE)).strip(b"\0"):
        try:
            about = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            raise BrokenArchiveError("its tar is damaged") from None
        if about.type in _NOTES:
            note = source.take(min(max(about.size, 0), _EXTRA))
            noted |= _noted(about.type, note)
            size = about.size
            body = source.pieces(size - len(note))
        else:
            is_extended = about.type == tarfile.GNUTYPE_SPARSE and block[482]
            while is_extended:
                is_extended = source.take(tarfile.BLOCKSIZE)[504:505] > b"\0"
            size = 0 if about.type in _NO_DATA else int(noted.get("size", about.size))
            body = source.pieces(size)
            name = noted["path"].decode("utf-8", "surrogateescape") if "path" in noted else about.name
            yield Member(name, body)
            noted = {}
        for _ in body:
            pass
        source.take(-size % tarfile.BLOCKSIZE)


def _noted(kind: bytes, note: bytes) -> dict[str, bytes]:
    if kind == tarfile.GNUTYPE_LONGNAME:
        return {"path": note.rstrip(b"\0")}
    found: dict[str, bytes] = {}
    while kind == tarfile.XHDTYPE and (record := re.match(rb"(\d{1,9}) ([^=]+)=", note)):
        size = int(record[1])  # of the whole record, its newline too: what it says may hold newlines itself
        text = note[record.end() : size - 1]
        if record[2] == b"path" or (record[2] == b"size" and text.isdigit()):
            found[record[2].decode()] = text
        note = note[max(size, record.end()) :]
    return found
