"""The processes of a run under `torchrun` or `accelerate launch`, as they share out parts of a work (`semalign.parts`)."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from semalign.parts import Parts, Share
from semalign.training.trainer import make_accelerator


def own_share() -> Share:
    """Of this process among those of a run under `torchrun` or `accelerate launch`; all of it where there are none."""
    accelerator = make_accelerator()
    return Share(accelerator.process_index + 1, accelerator.num_processes)


def commit_together(works: Sequence[Parts]) -> None:
    """When all processes of a run have done their shares, the first one commits them; then all go on.

    Raises:
        SemalignError: parts are missing.
    """
    accelerator = make_accelerator()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        for parts in works:
            parts.commit()
    accelerator.wait_for_everyone()


def first_once_all_are_here() -> bool:
    """Wait for all processes of a run; whether this is the first of them."""
    accelerator = make_accelerator()
    accelerator.wait_for_everyone()
    return bool(accelerator.is_main_process)


def said_by_the_first(values: list[Any]) -> list[Any]:
    """What the first process of a run has in the place of these."""
    if make_accelerator().num_processes == 1:
        return values
    from accelerate.utils import broadcast_object_list

    broadcast_object_list(values)
    return values


@contextmanager
def folder_for_parts(given: Path | None) -> Iterator[Path | None]:
    """The folder in which processes leave their parts: the one that is given, or one for the time being.

    A single process to which none is given needs none: None.
    """
    accelerator = make_accelerator()
    if given is not None or accelerator.num_processes == 1:
        yield given
        return
    name = tempfile.mkdtemp(prefix="semalign-") if accelerator.is_main_process else ""
    try:
        yield Path(said_by_the_first([name])[0])
        accelerator.wait_for_everyone()
    finally:
        if name:
            shutil.rmtree(name, ignore_errors=True)
