"""Training curves for TensorBoard, beside the run's own log; needs the extra `tensorboard`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from semalign.errors import SemalignError


class EventLog:
    """Writes the numbers of each epoch's record as scalars into `folder`/events.

    Raises:
        SemalignError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, first_epoch: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise SemalignError(
                "tensorboard = true needs TensorBoard; install it with: pip install 'semalign[tensorboard]'."
            ) from error
        self._writer = SummaryWriter(str(Path(folder) / "events"), purge_step=first_epoch)

    def write(self, record: dict[str, Any]) -> None:
        """Add an epoch's record."""
        for name, value in record.items():
            if isinstance(value, int | float) and name != "epoch":
                self._writer.add_scalar(name, value, record["epoch"])
        self._writer.flush()
