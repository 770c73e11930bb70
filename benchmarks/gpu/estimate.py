"""What the trainings of `paper_size.py` cost on a card, from counts of operations and of bytes; needs no card.

    python benchmarks/gpu/estimate.py
    python benchmarks/gpu/estimate.py --matrix 800 --copy 3.0 --minutes 9

A step is traced without data, operation by operation. Each takes the longest of three times: its multiplications and
additions at a share of the card's matrix rate, the bytes that it reads and writes at a share of its copy bandwidth,
and the time of a launch from a CUDA graph. The sums are printed beside the epochs that they leave room for. The
shares are guesses until a card was measured; `speed.py` measures them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from experiment import Costs, Size
from loss import EnlargedLoss
from paper_size import RESERVE, plan, sizes
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from torch.utils.flop_counter import flop_registry

from semalign.models.hourglass import StackedHourglass

LANDMARKS, TRAIN, TEST = 68, 2009, 224  # of the packed 300W
ARMS = ("annotations", "sa", "sa-without-update")
NO_KERNEL = ("detach", "empty", "_unsafe_view")


@dataclass(frozen=True)
class Card:
    """Rates that a card reaches, and how much of them real layers do."""

    matrix: float = 800e12  # operations a second, bf16, as a large matrix product reaches on an H100
    copy: float = 3.0e12  # bytes a second, read and written
    matrix_share: float = 0.35  # of convolutions of 64 to 256 channels
    copy_share: float = 0.7
    launch: float = 3e-6  # seconds, from a graph


@dataclass
class Work:
    """Operations, bytes and calls, by kind of operation."""

    operations: Counter[str] = field(default_factory=Counter)
    bytes: Counter[str] = field(default_factory=Counter)
    calls: Counter[str] = field(default_factory=Counter)
    each: list[tuple[str, float, float]] = field(default_factory=list)

    def add(self, name: str, operations: float, size: float) -> None:
        """One call."""
        for counter, amount in ((self.operations, operations), (self.bytes, size), (self.calls, 1)):
            counter[name] += amount  # type: ignore[assignment]
        self.each.append((name, operations, size))

    def add_copies(self, size: Size) -> None:
        """Autocast's: each weight to bfloat16, its gradient back to float32."""
        with torch.device("meta"):
            network = StackedHourglass(size.network, LANDMARKS)
        for weight in network.parameters():
            if weight.ndim > 1:
                for _ in range(2):
                    self.add("_to_copy", 0.0, 6.0 * weight.numel())

    def seconds(self, card: Card) -> dict[str, float]:
        """By kind, on one stream."""
        result: Counter[str] = Counter()
        for name, operations, size in self.each:
            busy = max(operations / (card.matrix * card.matrix_share), size / (card.copy * card.copy_share))
            result[name] += max(busy, card.launch)
        return dict(result)


class Counted(TorchDispatchMode):
    """Counts what is done while it is active. Views are free."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Work()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = [x for x in tree_flatten((args, kwargs, result))[0] if isinstance(x, Tensor)]
        if func.is_view or not tensors or func._overloadpacket.__name__ in NO_KERNEL:
            return result
        packet = func._overloadpacket
        operations = flop_registry[packet](*args, **(kwargs or {}), out_val=result) if packet in flop_registry else 0
        size = sum(x.numel() * x.element_size() for x in tensors)
        self.work.add(packet.__name__, operations, size)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", type=float, default=800.0, help="bf16 matrix rate of the card, TFLOP/s")
    parser.add_argument("--copy", type=float, default=3.0, help="copy bandwidth, TB/s, bytes read and written")
    parser.add_argument("--minutes", type=float, default=9.0)
    options = parser.parse_args()
    card = Card(matrix=1e12 * options.matrix, copy=1e12 * options.copy)
    size = sizes()["paper"]
    step, look = traced(training_step(size)), traced(forward(size, 32))
    step.add_copies(size)
    for name, work in {f"a step of {size.start.batch_size} faces": step, "a look at 32 faces": look}.items():
        tell(name, work, card)
    for networks in (1, 2):
        costs = group_costs(size, step, look, card, networks)
        epochs = plan(costs, size, ARMS, 60 * options.minutes - RESERVE - costs.prepare)
        print(
            f"{networks} network{'s' * (networks > 1)} in {options.minutes:g} minutes: an epoch {costs.epoch:.1f} s, a search "
            f"{costs.search:.1f} s; {epochs.start} epochs of the start, {epochs.arm} of each of {', '.join(ARMS)}"
        )


def group_costs(size: Size, step: Work, look: Work, card: Card, networks: int) -> Costs:
    """Seconds of an epoch, a look and a search for networks that train one after the other (side by side is never slower)."""
    seconds, looking = sum(step.seconds(card).values()), sum(look.seconds(card).values())
    epoch = networks * seconds * -(-TRAIN // size.start.batch_size)
    per_face = looking / 32
    search = networks * TRAIN * per_face * 2  # the search itself takes about as long as the network
    return Costs(epoch, networks * 2 * TEST * per_face, search, prepare=20.0 * networks)


def training_step(size: Size) -> Callable[[], None]:
    """Forward, loss and gradients of a batch, without data; the optimizer's few calls are not in it."""
    with torch.device("meta"):
        network = StackedHourglass(size.network, LANDMARKS).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        images = torch.empty(size.start.batch_size, 3, size.network.input_size, size.network.input_size)
        points = torch.empty(size.start.batch_size, LANDMARKS, 2)
    images = images.to(memory_format=torch.channels_last)
    coarse, factor = size.network.input_size // 4, size.network.upsampling_factor
    loss = EnlargedLoss(coarse, factor, 3.0, size.heatmap.foreground_weight, torch.device("meta"))
    maps: list[Tensor] = []
    for head in network.heads:
        head.predict.register_forward_hook(lambda _module, _inputs, output: maps.append(output))  # type: ignore[union-attr]

    network.bfloat16()  # in place of autocast, which knows no device without data; its copies of the weights are in `main`
    images = images.bfloat16()

    def run() -> None:
        network(images)
        target = loss.target(points)
        torch.stack([loss(part.float(), target) for part in maps]).sum().backward()

    return run


def forward(size: Size, batch: int) -> Callable[[], None]:
    """The network on a batch, without gradients."""
    with torch.device("meta"):
        network = StackedHourglass(size.network, LANDMARKS).bfloat16().eval()
        images = torch.empty(batch, 3, size.network.input_size, size.network.input_size, dtype=torch.bfloat16)

    def run() -> None:
        with torch.no_grad():
            network(images)[-1].float()

    return run


def traced(work: Callable[[], None]) -> Work:
    """What is done when `work` runs."""
    with Counted() as counted:
        work()
    return counted.work


def tell(name: str, work: Work, card: Card) -> None:
    seconds = work.seconds(card)
    print(f"{name}: {1e3 * sum(seconds.values()):.1f} ms estimated on one stream")
    for kind, value in sorted(seconds.items(), key=lambda item: -item[1]):
        operations, size = work.operations[kind] / 1e9, work.bytes[kind] / 1e9
        print(f"  {kind:34s}{operations:8.1f} GFLOP{size:7.2f} GB{work.calls[kind]:6d} calls{1e3 * value:7.2f} ms")


if __name__ == "__main__":
    main()
