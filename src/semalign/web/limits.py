"""How long, and how many, clients may keep a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ConnectionLimits:
    """Bounds of every connection."""

    sending: float = 30.0  # seconds for a whole request (its head, and then its body), and for taking its answer
    connections: int = 200  # open ones; beyond, a slow one is closed, or, if none is slow, the new one answered by 503
    slow: float = 10.0  # seconds for which a client is waited for although others have no room
