"""What threads that sleep while they wait cost and save, beside another job and alone.

    python benchmarks/threads.py [--turns 3] [--seconds 6] [--core 1]

By default PyTorch's threads wait busily for each other; `semalign` has them sleep (`semalign.cores.wait_asleep`). A process of
`THREADS` threads steps through the training of the recipe any-crossfit's network (batches of 16 random pictures), then looks at
single crops with the shipped detector, for --seconds each. It does so with threads that wait busily and that sleep, `alone` and
`beside` a second process that does the same in the same way, in turn, so that what else runs on the machine hits all alike.
With --core all threads share that core, as they do where other jobs hold the others; those jobs are then not disturbed.

`ms` is the median over the turns of a process's own median; `ratio` is busy over asleep, of the same turn, its median; `lowest`
and `highest` are of the turns. `load` is the system's load average over a minute when the benchmark began: what 'alone' means.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from harness import Row, finish, run, track

from semalign.cores import PASSIVE, usable_cores, wait_asleep

THREADS, BATCH = 2, 16
WARM, LEAST = 1, 2  # calls that do not count, and that do
WORKS, COMPANY = ("training step", "one crop"), ("alone", "beside")
BUSY, ASLEEP = "busy", "asleep"
CHILD = "from threads import work; work({waiting!r}, {seconds}, {core})"


def main(
    turns: int = 3,
    seconds: float = 6.0,
    core: Annotated[int | None, typer.Option(help="The only core that is used; default: all.")] = None,
) -> None:
    load = os.getloadavg()[0]
    cells = [(turn, company, waiting) for turn in range(turns) for company in COMPANY for waiting in (BUSY, ASLEEP)]
    times: dict[tuple[str, str, str], list[float]] = {}
    for _, company, waiting in track(cells, "processes"):
        for name, milliseconds in measured(waiting, company, seconds, core).items():
            times.setdefault((name, company, waiting), []).append(milliseconds)
    common = {"cores used": usable_cores() if core is None else 1, "threads": THREADS, "load": load, "turns": turns}
    finish("threads", [row(times, name, company) | common for company in COMPANY for name in WORKS], digits=2)


def row(times: dict[tuple[str, str, str], list[float]], name: str, company: str) -> Row:
    busy, asleep = (times[name, company, waiting] for waiting in (BUSY, ASLEEP))
    ratios = [one / other for one, other in zip(busy, asleep, strict=True)]
    return {
        "work": name,
        "second job": company,
        "ms busy": median(busy),
        "ms asleep": median(asleep),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def measured(waiting: str, company: str, seconds: float, core: int | None) -> dict[str, float]:
    """Milliseconds of each work in a process of its own, or the mean of two that run at once."""
    environment = {name: value for name, value in os.environ.items() if name not in PASSIVE}
    environment |= {"OMP_NUM_THREADS": str(THREADS)}
    line = [sys.executable, "-c", CHILD.format(waiting=waiting, seconds=seconds, core=core)]
    jobs = [
        subprocess.Popen(line, cwd=Path(__file__).parent, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(1 + (company == "beside"))
    ]
    found = [json.loads(job.communicate()[0]) for job in jobs]
    return {name: sum(one[name] for one in found) / len(found) for name in WORKS}


def work(waiting: str, seconds: float, core: int | None) -> None:
    """Do each work for so long and print its median milliseconds as JSON; called in a fresh process."""
    if waiting == ASLEEP:
        wait_asleep()
    import torch

    if core is not None:  # only now: OpenMP waits less busily where it sees fewer cores than threads
        os.sched_setaffinity(0, {core})
    from semalign.models import pretrained
    from semalign.models.network import build_network
    from semalign.pipeline import load_recipe

    recipe = load_recipe("any-crossfit")
    generator = torch.Generator().manual_seed(0)
    network = build_network(recipe.network, 12, 0).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    pictures = torch.rand(BATCH, 3, recipe.network.input_size, recipe.network.input_size, generator=generator)
    detector = pretrained.load("default")
    crop = pictures.new_zeros(1, 3, detector.input_size, detector.input_size)

    def step() -> None:
        loss = network(pictures)[-1].float().square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    @torch.inference_mode()
    def look() -> None:
        detector.network(crop)

    print(json.dumps({name: spent(form, seconds) for name, form in zip(WORKS, (step, look), strict=True)}))


def spent(form: Callable[[], object], seconds: float) -> float:
    """Median milliseconds of a call, of as many as fit into the time, at least LEAST."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < WARM + LEAST:
        begin = time.perf_counter()
        form()
        times.append(1000 * (time.perf_counter() - begin))
    return median(times[WARM:])


if __name__ == "__main__":
    run(main)
