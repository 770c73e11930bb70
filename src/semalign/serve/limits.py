"""How much the page's server takes on."""

from __future__ import annotations

from dataclasses import dataclass

from semalign.web.limits import ConnectionLimits

MAX_UPLOAD = 20 * 2**20  # bytes


@dataclass(frozen=True)
class Limits(ConnectionLimits):
    """What one person on one machine needs, and no more than the machine can give.

    Time and memory are counted where they are spent: a client that sends slowly holds neither a thread nor a turn, and
    of the memory only what it has sent.
    """

    upload: int = MAX_UPLOAD  # bytes of one picture
    uploads: int = 256 * 2**20  # bytes of all pictures together that are being sent, that wait or are worked on
    at_a_time: int = 2  # pictures that are worked on, each in a thread of its own
    queue: int = 64  # pictures that wait for their turn; more are answered by 503 at once
    waiting: float = 30.0  # seconds that a picture waits for its turn
