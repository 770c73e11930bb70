"""Valid files made hostile: by their bytes, by their words, by the values of their JSON. All is drawn from one generator."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from copy import deepcopy
from itertools import islice
from random import Random
from typing import Any

ESCAPE = "semalign-fuzz-escaped"  # is in every name that leads out of a folder: no file of such a name may ever be made
NUMBERS = (
    *("0", "-1", "1", "2", "65536", "99999", "999999999", "1000000000", "2147483648", "-9223372036854775809"),
    *("1e308", "-1e308", "1e999", "1e-320", "0.1.2", "NaN", "nan", "Infinity", "-inf", "0x10", "1_000", "9" * 400),
    *("9" * 5000, "1e99999999999", "-0.0", "٣", "１２"),
)
NAMES = (
    *("", ".", "..", "/", "\\", " ", "a/", "a.png", "a.PNG", "a.pts", "a", "CON", "~", "-", "--out", "*", "a\tb"),
    *(f"../{ESCAPE}.png", f"../../../{ESCAPE}.png", f"/tmp/{ESCAPE}.png", f"a/../../{ESCAPE}.png"),
    *(f"..\\..\\{ESCAPE}.png", f"C:\\{ESCAPE}.png", f"\\\\host\\share\\{ESCAPE}.png", f"file:///tmp/{ESCAPE}.png"),
    *(f"./a/./../../{ESCAPE}.png", f"//{ESCAPE}.png", f"a/{ESCAPE}/../../../{ESCAPE}.jpg", f"../{ESCAPE}"),
    *("a" * 300 + ".png", "a/" * 2100 + "a.png", "a" * 70_000, "_" * 30_000 + "1", "9" * 30_000, " " * 5000 + "x"),
    *("a\0b.png", "\ud800.png", "\ufeffa.png", "\u202egnp.a", "a\nb.png", "a\r\n\r\nb", "\x1b[31m", "%s%n", "$(id)"),
    *("<!--", "-->", "]]>", "&a;", "&#0;", "'", '"', '"""', "{", "}}", "{0}", "😀" * 20, "\x85\u2028", "=1+1"),
)
OTHERS = ("null", "None", "true", "false", "[]", "{}", "[[]]", '[{"a": 1}]', "1, 2", "[1e308, -1e308]", '""')
INTEGERS = (0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1_000_000_000, 0x00FFFFFF)
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[-+]?\d[\d.eE+-]*|[A-Za-z_][\w./-]*|\S')
_LINE = re.compile("\n")
_LONGEST = 500_000  # bytes of an input

Mutator = Callable[[Random, bytes], bytes]


def by_bytes(rng: Random, data: bytes) -> bytes:
    """Bytes changed, cut, repeated, moved or put in; or a number of two to eight bytes made another."""
    if not data:
        return rng.randbytes(rng.randrange(64))
    kind, place = rng.randrange(7), rng.randrange(len(data))
    if kind == 0:
        return data[:place]
    if kind == 1:
        changed = bytearray(data)
        for _ in range(rng.randint(1, 16)):
            changed[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(changed)
    other = min(len(data), place + rng.choice((1, 2, 4, 8, 16, 64, 256, len(data))))
    if kind == 2:
        return data[:place] + data[other:]
    if kind == 3:
        return (data[:place] + data[place:other] * rng.choice((2, 3, 50)) + data[other:])[:_LONGEST]
    if kind == 4:
        return (
            data[:place]
            + rng.choice((b"\0", b"\xff", b"\n", b" ", rng.randbytes(8))) * rng.randint(1, 9)
            + data[place:]
        )
    if kind == 5:
        size = rng.choice((2, 4, 8))
        number = rng.choice(INTEGERS) % 256**size
        return data[:place] + number.to_bytes(size, rng.choice(("little", "big"))) + data[place + size :]
    bit = 1 << rng.randrange(8)
    return data[:place] + bytes([data[place] ^ bit]) + data[place + 1 :]


def hostile_text(rng: Random) -> str:
    """A word of no good intent, as it would be written."""
    kind = rng.randrange(10)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind < 7:
        return json.dumps(rng.choice(NAMES), ensure_ascii=rng.random() < 0.7)
    if kind < 8:
        return rng.choice(NAMES)
    if kind < 9:
        return rng.choice(OTHERS)
    return rng.choice(("[", "{", '{"a":', "[[", "<a>", "(", "a.", "-", "\\")) * rng.choice((3, 90, 3000, 100_000))


def _word(rng: Random, text: str) -> re.Match[str] | None:
    """A word of a line, as likely in a short line as in a long one."""
    ends = [0, *(match.end() for match in islice(_LINE.finditer(text), 2000))]
    start = rng.choice(ends)
    words = list(islice(_TOKEN.finditer(text, start), 12))
    return rng.choice(words) if words else None


def by_words(rng: Random, data: bytes) -> bytes:
    """Some words of a text made others, lines repeated, left out or exchanged, or all of it in another encoding."""
    text = data.decode("utf-8", "surrogateescape")
    for _ in range(rng.choice((1, 1, 2, 4))):
        kind = rng.randrange(8)
        if kind < 5:
            match = _TOKEN.search(text, rng.randrange(len(text) + 1)) if rng.random() < 0.5 else _word(rng, text)
            if match is not None:
                text = text[: match.start()] + hostile_text(rng) + text[match.end() :]
        else:
            lines = text.split("\n")
            row, other = rng.randrange(len(lines)), rng.randrange(len(lines))
            if kind == 5:
                lines[row:row] = [lines[row]] * rng.choice((1, 2, 200))
            elif kind == 6:
                del lines[row]
            else:
                lines[row], lines[other] = lines[other], lines[row]
            text = "\n".join(lines)
    text = text[:_LONGEST]
    encoded = text.encode("utf-8", "surrogatepass" if rng.random() < 0.2 else "replace")
    kind = rng.randrange(40)
    if kind == 0:
        return text.encode("utf-16", "replace")
    if kind == 1:
        return b"\xef\xbb\xbf" * rng.randint(1, 2) + encoded
    if kind == 2:
        return text.encode("latin-1", "replace")
    return encoded


_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 0.5, 1e308, -1e308, 1e-320, 10**9, 10**18, -(10**30), 10**400),
    *(float("nan"), float("inf"), [], {}, [[]], [None], [1, 2, 3], {"a": 1}, [1e308, -1e308], "", "a", "1", "NaN"),
    *(list(range(1000)), [0] * 100_000, {str(key): key for key in range(1000)}, [[[[[[1]]]]]]),
)


def hostile_value(rng: Random) -> Any:
    """A value of JSON."""
    return deepcopy(rng.choice((*_VALUES, *(rng.choice(NAMES) for _ in range(8)))))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key in list(value)[:200]:
            found += _paths(value[key], (*path, key))
    elif isinstance(value, list):
        for index in (*range(min(len(value), 20)), *range(max(20, len(value) - 3), len(value))):
            found += _paths(value[index], (*path, index))
    return found


def changed_value(rng: Random, value: Any) -> Any:
    """JSON with a few of its values made hostile, left out, repeated, called otherwise or put deeper."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(_paths(value))
        if not path:
            if rng.random() < 0.1:
                return hostile_value(rng)
            continue
        parent = value
        for step in path[:-1]:
            parent = parent[step]
        last, kind = path[-1], rng.randrange(10)
        if kind < 6:
            parent[last] = hostile_value(rng)
        elif kind == 6:
            del parent[last]
        elif kind == 7 and isinstance(parent, list):
            parent[last:last] = [parent[last]] * rng.choice((1, 3, 500))
        elif kind == 8 and isinstance(parent, dict):
            parent[rng.choice((*NAMES, *parent))] = parent.pop(last)
        else:
            parent[last] = [parent[last]]
    return value


def by_values(rng: Random, data: bytes) -> bytes:
    """The values of a JSON document changed, or its words, or its bytes."""
    kind = rng.randrange(10)
    if kind < 2:
        return by_words(rng, data)
    if kind < 3:
        return by_bytes(rng, data)
    value = changed_value(rng, json.loads(data))
    indent = 1 if b"\n" in data[:40] and rng.random() < 0.2 else None  # which takes long
    return json.dumps(value, indent=indent, ensure_ascii=rng.random() < 0.8).encode("utf-8", "surrogatepass")


def by_text(rng: Random, data: bytes) -> bytes:
    """The words of a text changed, or its bytes."""
    return by_bytes(rng, data) if rng.random() < 0.2 else by_words(rng, data)


def by_lines(rng: Random, data: bytes) -> bytes:
    """Lines of JSON: the values of one changed, or words, or bytes."""
    if rng.random() < 0.3:
        return by_text(rng, data)
    lines = data.split(b"\n")
    row = rng.choice([index for index, line in enumerate(lines) if line.strip()])
    try:
        lines[row] = json.dumps(changed_value(rng, json.loads(lines[row]))).encode()
    except ValueError:  # the first line of a file whose lines are parts
        return by_words(rng, data)
    return b"\n".join(lines)
