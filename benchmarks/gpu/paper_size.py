"""The paper's claim at the paper's size: does semantic alignment help where the network fits the annotators' noise?

    python benchmarks/gpu/pack.py --data 300w --annotators lfpw_annotators.csv --wheels 3.12
    python benchmarks/gpu/paper_size.py run --minutes 9 --state STATE               # on the machine with the GPU, once or more
    python benchmarks/gpu/paper_size.py run --minutes 9 --state STATE --seeds 1
    python benchmarks/gpu/paper_size.py table STATE                                 # at home: prints and writes the CSV

`run` measures what a step takes, plans as many epochs as fit, and goes through the trainings of `experiment.py` for
every level of noise and every seed that is asked for, two networks side by side where that leaves time enough. What
is finished lies in STATE, from which a later call goes on, with the same number of epochs: a start that a call could
not finish is continued, an arm begun anew. `--size small` and `--size toy` are for CPUs, `estimate` tells from
operation counts what a plan costs on a card.
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from experiment import ARMS, Costs, Experiment, Name, Size, scaled
from faces import read_faces
from pack import FACES
from settings import read_recipe
from state import State

from semalign.core.search import SearchSettings
from semalign.data.augment import AugmentationSettings
from semalign.errors import SemalignError
from semalign.models.hourglass import HourglassSettings
from semalign.training.memory import keep_large_blocks
from semalign.training.settings import HeatmapSettings, TrainingSettings


class Plan(NamedTuple):
    """Epochs."""

    start: int
    arm: int


STATE = Path(__file__).resolve().parent / "state"
RESERVE = 25.0  # seconds kept for reading, writing and what was not measured
SURE = 0.93  # share of the time that is planned: measurements are short, and may be of quick moments
FEWEST = Plan(20, 5)  # epochs of start and arm that a plan still makes sense with
TOGETHER = 2  # networks side by side on a card, if each start then has the share WANTED of its epochs
WANTED = 0.6
AS_IN_THE_PAPER = AugmentationSettings(  # "the angle of rotation and the bounding box scale from Gaussian distribution"
    shift=0.0, flip=0.0, brightness=0.0, contrast=0.0, colour=0.0, grey=0.0, blur=0.0, occlusion=0.0
)
BEST = SearchSettings(likelihood_weight=4.0, template=9)  # of the recipe 300w-compact


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="train what is not trained yet")
    runs.add_argument("--packed", type=Path, default=FACES)
    runs.add_argument("--state", type=Path, default=STATE)
    runs.add_argument("--size", choices=("paper", "small", "toy"), default="paper")
    runs.add_argument("--minutes", type=float, default=9.0, help="wall time of the whole call")
    runs.add_argument("--noise", type=int, nargs="+", default=[1, 2], help="independent draws of annotation noise")
    runs.add_argument("--seeds", type=int, nargs="+", default=[0])
    runs.add_argument("--arms", nargs="+", choices=ARMS, default=["annotations", "sa", "sa-without-update"])
    runs.add_argument("--epochs", type=int, nargs=2, metavar=("START", "ARM"), help="instead of a plan by the clock")
    tables = commands.add_parser("table", help="print what a state says and write it to benchmarks/results")
    tables.add_argument("state", type=Path)
    tables.add_argument("--packed", type=Path, default=FACES)
    tables.add_argument("--name", default="paper-size", help="of the CSV file")
    options = parser.parse_args()
    try:
        if options.command == "table":
            from table import finish_table  # needs libraries that a machine with a GPU may lack

            finish_table(options.state, options.packed, options.name)
        else:
            run(options, time.monotonic() + 60.0 * options.minutes)
    except SemalignError as error:
        sys.exit(f"error: {error}")


def run(options: argparse.Namespace, deadline: float) -> None:
    """One call: groups of networks, as far as the time goes."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    keep_large_blocks()
    faces, size = read_faces(options.packed), sizes()[options.size]
    state = State(options.state, {"data": faces.name, "truth": faces.truth is not None, "size": size.name})
    state.content["machines"].append(machine(device))
    experiment = Experiment(faces, size, state, device, deadline - RESERVE * (device.type == "cuda"), say)
    arms = [arm for arm in ARMS if arm in options.arms]
    if "truth" in arms and faces.truth is None:
        raise SemalignError(f"{options.packed}: does not know the truth of its faces; leave out the arm 'truth'.")
    names = [Name(noise, seed) for seed in options.seeds for noise in options.noise]
    given = state.content["plan"] or options.epochs
    together, costs, epochs = arranged(experiment, len(names), arms, Plan(*given) if given else None)
    say(f"{state.content['machines'][-1]['device']}, {together} side by side: {costs}, {epochs}")
    state.content["plan"] = epochs
    state.save()
    for group in (names[index : index + together] for index in range(0, len(names), together)):
        if not work(experiment, group, arms, epochs, costs):
            say("the time is used up; call again with the same state to go on")
            return
    say("all is trained")


def arranged(experiment: Experiment, networks: int, arms: Sequence[str], given: Plan | None) -> tuple[int, Costs, Plan]:
    """How many networks train side by side, what that costs, and for how many epochs.

    As many as `TOGETHER` on a card, where the time is enough for them: for the epochs that are given (an earlier call's, or
    the user's), or for the share `WANTED` of those of the size.
    """
    size, together = experiment.size, min(TOGETHER, networks) if experiment.device.type == "cuda" else 1
    while True:
        costs = experiment.measure(together)
        left = experiment.deadline - time.monotonic()
        epochs = given or plan(costs, size, arms, left)
        enough = seconds_of(epochs, costs, size, arms) <= left if given else epochs.start >= WANTED * size.start.epochs
        if enough or together == 1:
            return together, costs, epochs
        together -= 1


def work(experiment: Experiment, group: list[Name], arms: Sequence[str], epochs: Plan, costs: Costs) -> bool:
    """A group's start and arms; False if there is no time for the next one."""
    missing = [arm for arm in arms if not all(experiment.state.done(str(name), arm) for name in group)]
    if not missing:
        return True
    if not experiment.start(group, epochs.start):
        return False
    for arm in missing:
        wanted = cost_of(arm, costs, experiment.size, epochs.start, epochs.arm)
        if experiment.deadline - time.monotonic() < wanted:
            return False
        experiment.arm(group, arm, epochs.arm, epochs.start)
    return True


def plan(costs: Costs, size: Size, arms: Sequence[str], seconds: float) -> Plan:
    """As many epochs of start and arms as fit into the time, at most those of the size, in their proportion."""
    for share in np.linspace(1.0, 0.0, 201):
        start, arm = round(share * size.start.epochs), round(share * size.arm.epochs)
        epochs = Plan(max(FEWEST.start, start), max(FEWEST.arm, arm))
        if seconds_of(epochs, costs, size, arms) <= SURE * seconds:
            return epochs
    say(f"{seconds:.0f} s are too few for {FEWEST.start} and {FEWEST.arm} epochs; further calls will be needed")
    return FEWEST


def seconds_of(epochs: Plan, costs: Costs, size: Size, arms: Sequence[str]) -> float:
    """A start and all arms of a group."""
    each = (cost_of(arm, costs, size, epochs.start, epochs.arm) for arm in arms)
    return costs.training(epochs.start, size.look_every) + sum(each)


def cost_of(arm: str, costs: Costs, size: Size, start: int, epochs: int) -> float:
    """Seconds of an arm; labels out of fold cost another start, each network on a part of the faces."""
    searches = {"sa": size.searches, "sa-without-update": size.searches}.get(arm, 0)
    seconds = costs.training(epochs, size.look_every, searches)
    return seconds + (start * costs.epoch + costs.search if arm == "out-of-fold" else 0.0)


def sizes() -> dict[str, Size]:
    """The paper's own size, one for an hour of two cores, and one for a test."""
    recipe = read_recipe("300w-paper")
    paper = Size(
        "paper",
        recipe.network,
        recipe.heatmap,
        AS_IN_THE_PAPER,
        replace(recipe.start, precision="bf16"),
        scaled(replace(recipe.alignment, precision="bf16"), 30),
        recipe.search,
        BEST,
        searches=recipe.alternation.searches,
    )
    small = replace(
        paper,
        name="small",
        network=HourglassSettings(96, 48, stacks=1, width=96, growth=1.5, upsampling="bilinear"),
        heatmap=HeatmapSettings(sigma=8.0),
        augmentation=replace(AS_IN_THE_PAPER, rotation=5.0, scale=0.05, shift=0.01),
        start=TrainingSettings(100, 10, "rmsprop", 5e-4, "steps", milestones=(85,), divisors=(10.0,), precision="bf16"),
        arm=TrainingSettings(20, 10, "rmsprop", 5e-5, "steps", milestones=(10,), divisors=(5.0,), precision="bf16"),
        search=SearchSettings(likelihood_weight=0.1, region=17, template=49),
        look_every=10,
    )
    toy = replace(
        small,
        name="toy",
        network=HourglassSettings(64, 32, stacks=2, width=16, depth=2, upsampling="bilinear"),
        start=replace(small.start, epochs=4, milestones=(3,), precision="fp32"),
        arm=replace(small.arm, epochs=2, milestones=(1,), precision="fp32"),
        look_every=2,
    )
    return {size.name: size for size in (paper, small, toy)}


def machine(device: torch.device) -> dict[str, str]:
    """What the figures were made on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return {"device": name, "python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__}


def say(line: str) -> None:
    print(line, flush=True)


def say_row(row: Mapping[str, object]) -> None:
    """A row of figures as one line, numbers to four digits."""
    say("  ".join(f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
