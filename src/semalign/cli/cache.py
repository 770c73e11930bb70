"""The cache of face crops that all commands share: what is in it, how to make it smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from semalign.cli.options import AsJson, complain, option
from semalign.cli.output import say

if TYPE_CHECKING:
    from semalign.data.cache import Cache


def list_cache(as_json: AsJson = False) -> None:
    """List the crops in the cache: of which pictures, how large, when they were last used.

    Crops are made again when they are wanted, so everything here may be removed at any time. The folder is $SEMALIGN_CACHE, or
    else the user's folder for caches; $SEMALIGN_CACHE_LIMIT, as 50GB, is how large it may become.

    Example:
        semalign cache list
    """
    from semalign.cli import tables
    from semalign.data.cache import Cache

    cache = Cache()
    tables.print_cache(cache.folder, cache.contents(), cache.limit(), as_json)


def prune(
    limit: Annotated[
        str | None, option("--limit", "SIZE", "How much may stay, as 500MB or 20GB.", default="$SEMALIGN_CACHE_LIMIT")
    ] = None,
) -> None:
    """Remove the crops that were not used for longest, until the cache is within its limit.

    What another process is using stays. The same happens by itself whenever crops are added.

    Example:
        semalign cache prune --limit 2GB
    """
    from semalign.data.cache import Cache, read_size

    _keep(Cache(), None if limit is None else read_size(limit))


def clear() -> None:
    """Remove all crops that nobody is using.

    Example:
        semalign cache clear
    """
    from semalign.data.cache import Cache

    _keep(Cache(), 0)


def _keep(cache: Cache, limit: int | None) -> None:
    """Remove all that is over a limit; the exit status is 1 if more is left."""
    from semalign.data.cache import in_bytes

    limit = cache.limit() if limit is None else limit
    removed = cache.prune(limit)
    size = in_bytes(sum(one.size for one in removed))
    say(f"{cache.folder}: {len(removed) or 'no'} set{'' if len(removed) == 1 else 's'} of crops removed, {size}")
    if cache.size() > limit:
        for left in cache.contents():
            complain(f"not removed: {left.path}: is in use, or not yours to remove")
        raise typer.Exit(1)


COMMANDS: dict[str, Callable[..., None]] = {"list": list_cache, "prune": prune, "clear": clear}
