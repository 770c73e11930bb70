"""Which share of a work is this process's: by --shard, or as one of those that `torchrun` has started."""

from __future__ import annotations

from typing import TYPE_CHECKING

from semalign.cli.output import say
from semalign.locks import several_processes

if TYPE_CHECKING:
    from semalign.parts import Share
    from semalign.progress import Progress


def share_of(shard: str | None) -> Share | None:
    """The share; None where one process does everything.

    Raises:
        SemalignError: --shard is none.
    """
    from semalign.parts import parse_share

    if shard is not None:
        return parse_share(shard)
    if not several_processes():
        return None
    from semalign.pipeline.processes import own_share

    return own_share()


def progress_of(share: Share, shard: str | None) -> Progress:
    """What says how far this process is: under `torchrun` the first one does."""
    from semalign.cli.progress import RichProgress
    from semalign.progress import SilentProgress

    return RichProgress() if shard is not None or share.index == 1 else SilentProgress()


def goes_on(shard: str | None, share: Share, missing: int) -> bool:
    """Whether this process makes the result once its share is done: the first of `torchrun`; with --shard it says so and stops.

    Args:
        shard: as it was given.
        share: that was done.
        missing: parts that nobody has done yet.
    """
    if shard is not None:
        say_of_shard(share, missing)
        return False
    from semalign.pipeline.processes import first_once_all_are_here

    return first_once_all_are_here()


def say_of_shard(share: Share, missing: int) -> None:
    """Say that a share is done, and what of the others is missing."""
    rest = f"{missing} parts of other shards are missing" if missing else "all shards are done"
    say(f"shard {share} is done; {rest}. The same command without --shard puts them together.")
