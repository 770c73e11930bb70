"""What a call leaves behind so that a later one, on another machine, goes on: a folder of a few files, none above 15 MiB.

    state.json           what was compared, on which card, the plan, and the log of every training
    results.npz          points that finished trainings found
    start-KEY.00.npy …   the weights from which the second trainings of network KEY begin: half precision, in parts

A folder may lack weights that nobody needs any more. Files are written beside and renamed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from semalign.errors import SemalignError
from semalign.files import atomic_path, read_json, write_json

PART = 15 * 2**20  # bytes of a file of weights
HALF = 2  # bytes
JSON, RESULTS = "state.json", "results.npz"
Record = dict[str, Any]


class State:
    """The folder's content in memory; `save` writes it.

    Args:
        folder: new, or left behind by a call.
        origin: what must be the same in every call, ready for JSON.

    Raises:
        SemalignError: the folder belongs to another comparison, or cannot be read.
    """

    def __init__(self, folder: Path, origin: Record) -> None:
        self.folder = folder
        self.content: Record = {"origin": origin, "machines": [], "plan": None, "starts": {}, "arms": {}}
        self.arrays: dict[str, np.ndarray] = {}
        if (folder / JSON).is_file():
            stored = read_json(folder / JSON, "delete the folder to begin anew")
            if stored["origin"] != json.loads(json.dumps(origin)):
                raise SemalignError(f"{folder}: was begun with other faces or another size; choose another folder.")
            self.content = stored
        if (folder / RESULTS).is_file():
            with np.load(folder / RESULTS, allow_pickle=False) as stored:
                self.arrays = {name: stored[name] for name in stored.files}

    def save(self) -> None:
        """Write everything but weights; the points first, for the JSON says which of them are there."""
        if self.arrays:
            with atomic_path(self.folder / RESULTS) as temporary:
                np.savez_compressed(temporary, **self.arrays)
        write_json(self.folder / JSON, self.content)

    def trained(self, key: str) -> int:
        """Epochs that the first training of a network has behind it."""
        return int(self.content["starts"].get(key, {}).get("epochs", 0))

    def done(self, key: str, arm: str) -> bool:
        """Whether a second training is finished."""
        return f"{key}/{arm}" in self.content["arms"]

    def save_weights(self, key: str, network: nn.Module) -> None:
        """Write a network's weights, rounded, in place of those that are there."""
        values = torch.cat([value.detach().flatten().half().cpu() for value in _floats(network).values()]).numpy()
        if not np.isfinite(values).all():
            raise SemalignError(f"{self.folder}: weights of {key} do not fit half precision; train with a lower rate.")
        for old in self._parts(key):
            old.unlink()
        for index, part in enumerate(np.split(values, range(PART // HALF - 128, len(values), PART // HALF - 128))):
            with atomic_path(self.folder / f"start-{key}.{index:02d}.npy") as temporary, temporary.open("wb") as stream:
                np.save(stream, part)

    def load_weights(self, key: str, network: nn.Module) -> None:
        """Put the weights that were written into a network.

        Raises:
            SemalignError: they are not all here, or those of another network.
        """
        parts = [np.load(path, allow_pickle=False) for path in self._parts(key)]
        targets = _floats(network)
        wanted = sum(value.numel() for value in targets.values())
        if sum(map(len, parts)) != wanted:
            raise SemalignError(
                f"{self.folder}: the weights of {key} are not complete; copy its start-{key}.*.npy here."
            )
        values, begin = torch.from_numpy(np.concatenate(parts)).float(), 0
        with torch.no_grad():
            for target in targets.values():
                target.copy_(values[begin : begin + target.numel()].view(target.shape))
                begin += target.numel()

    def _parts(self, key: str) -> list[Path]:
        return sorted(self.folder.glob(f"start-{key}.*.npy"))


def _floats(network: nn.Module) -> dict[str, torch.Tensor]:
    """Weights and running statistics, which share the network's memory."""
    return {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
