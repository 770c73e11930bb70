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
        200  # open ones; beyond, the slowest is closed, or, where all are quick, the new one is answered by 503
    )
