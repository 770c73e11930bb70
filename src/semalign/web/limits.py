"""How long, and how many, clients may keep a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConnectionLimits:
    """Bounds of every connection."""

    sending: float = (
        30.0  # seconds in which a whole request must have come (its head, and then its body), an answer been taken
    )
    connections: int = (
        200  # open ones; beyond, the slowest is closed, or, where none is slow, the new one is answered by 503
    slow: float = 5.0  # seconds for which a client may be waited for although others have no room
    )
