"""Pictures that lack their last bytes: which they are, told without decoding, and what can be read of them.

A file that was cut off by a few bytes shows all but its last rows. A JPEG and a PNG of which no more than a sixteenth is
missing are completed; of other formats, and of more, a decoder says that they are damaged.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import JpegImagePlugin

from semalign.data.archives import open_file

MISSING = 1 / 16  # of the height that may be missing at the end
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_END = b"\xff\xd9"  # of a JPEG
_IEND = b"\0\0\0\0IEND\xaeB`\x82"
# JPEG marker after which the pixels come, in which no byte FF stands before another one but 00 and restarts.
_SCAN = 0xDA
_ALONE = (0x01, *range(0xD0, 0xD9))  # JPEG markers without a length
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG by its colour type


def lacks_its_end(path: str | Path) -> bool:
    """Whether a JPEG or a PNG lacks its last bytes; False for any other file, and for one that cannot be read.

    Bytes that follow a picture's end do no harm and are no reason. Nothing is decoded.
    """
    try:
        with open_file(path) as file:
            return _lacks_its_end(file)
    except OSError:
        return False


def completed(file: io.BufferedIOBase, most_pixels: int) -> tuple[io.BufferedIOBase, str]:
    """The file at its start, or, if it lacks its last bytes, one that has its end, and what it was read without.

    A file of which too much is missing, or that has more than `most_pixels`, is given back as it is, with an empty text.
    """
    if not _lacks_its_end(file):
        file.seek(0)
        return file, ""
    file.seek(0)
    data = file.read()
    file.seek(0)
    whole, missing = _whole_jpeg(data, most_pixels) if data.startswith(_JPEG) else _whole_png(data, most_pixels)
    if whole is None or missing > MISSING:
        return file, ""
    lacks = f"about the last {100 * missing:.0f} % of its rows" if missing > 0.005 else "its last bytes"
    return io.BytesIO(whole), lacks


def _lacks_its_end(file: io.BufferedIOBase) -> bool:
    head = file.read(8)
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - len(_IEND)))
    tail = file.read()
    if head.startswith(_JPEG):
        return not tail.endswith(_END) and not _jpeg_ends(file)
    if head == _PNG:
        return tail != _IEND and not any(kind == b"IEND" for kind, _ in _chunks(file, size))
    return False


def _jpeg_ends(file: io.BufferedIOBase) -> bool:
    """Whether a JPEG's pixels are followed by its end; that of a thumbnail in its head does not count."""
    file.seek(0)
    data = file.read()
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == _SCAN:
            return data.find(_END, place) >= 0
        if marker == 0xFF:  # a byte that fills
            place += 1
        elif marker in _ALONE:
            place += 2
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False


def _chunks(file: io.BufferedIOBase, size: int) -> Iterator[tuple[bytes, int]]:
    """The kinds of a PNG's whole chunks, and where each begins."""
    place = len(_PNG)
    while place + 12 <= size:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if place + 12 + length > size:
            return
        yield kind, place
        place += 12 + length


def _whole_jpeg(data: bytes, most_pixels: int) -> tuple[bytes | None, float]:
    """The JPEG with its end, and the share of its rows that are missing."""
    whole = data + _END
    with JpegImagePlugin.JpegImageFile(io.BytesIO(whole)) as image:
        if image.width * image.height > most_pixels:
            return None, 1.0
        shown = np.asarray(image.convert("L"))
    flat = (np.ptp(shown, axis=1) == 0)[::-1]
    return whole, (int(np.argmin(flat)) if not flat.all() else len(flat)) / len(flat)


def _whole_png(data: bytes, most_pixels: int) -> tuple[bytes | None, float]:
    """The PNG with black in place of the rows that are missing, and their share; None for an interlaced or an odd one."""
    pixels, first, place = b"", None, len(_PNG)
    while place + 8 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        if kind == b"IDAT":
            first = place if first is None else first
            pixels += data[place + 8 : place + 8 + length]
        place += 12 + length
    if first is None or data[12:16] != b"IHDR":
        return None, 1.0
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data[16:29])
    if interlaced or colour not in _CHANNELS or not height or width * height > most_pixels:
        return None, 1.0
    row = 1 + (width * depth * _CHANNELS[colour] + 7) // 8
    try:
        rows = zlib.decompressobj().decompress(pixels, row * height)
    except zlib.error:
        return None, 1.0
    missing = 1.0 - len(rows) // row / height
    body = zlib.compress(rows[: len(rows) // row * row].ljust(row * height, b"\0"), 1)
    check = struct.pack(">I", zlib.crc32(b"IDAT" + body))
    return data[:first] + struct.pack(">I", len(body)) + b"IDAT" + body + check + _IEND, missing
