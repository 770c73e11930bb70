"""The command line in processes that are broken on purpose.

Started as a program, this imports Semalign once and then forks a process for each command that it is asked for, which saves the
seconds that imports take. Nothing in Semalign knows of it: faults come by an audit hook, which Python calls before every change
of a file, and by limits and signals of the system.

    FAULTS    what may be done at the n-th change of a file below a folder
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

# Events of Python's audit hooks that change something, and which of their arguments are paths.
CHANGES = {
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.mkdir": (0,),
    "os.rmdir": (0,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "shutil.rmtree": (0,),
}
REFUSED = ("open", *(name for name in CHANGES if name.startswith("os.")))  # by a disk that is read-only
GROWING = ("open", "os.mkdir", "os.rename")  # by a full one


@dataclass(frozen=True)
class Fault:
    """What is done at a change of a file.

    Attributes:
        kind: a key of FAULTS; empty = nothing.
        at: at which change below `below`, from 1.
        below: folder.
        path: that is touched, for those that touch another file than the one that is being changed.
        limit: largest file that the process may write, bytes; None = any.
    """

    kind: str = ""
    at: int = 0
    below: str = ""
    path: str = ""
    limit: int | None = None


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        status: its exit status; negative = the signal that ended it.
        output: standard output and error.
        changes: of files below the fault's folder.
        seconds: of a processor.
    """

    status: int
    output: str
    changes: int
    seconds: float

    @property
    def sentence(self) -> str:
        """The last line of the output."""
        return (self.output.strip().splitlines() or [""])[-1]


def _send(number: int) -> Callable[[Fault], None]:
    def send(fault: Fault) -> None:
        os.kill(os.getpid(), number)

    return send


def _refuse(number: int) -> Callable[[Fault], None]:
    def refuse(fault: Fault) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


def _truncate(fault: Fault) -> None:
    data = Path(fault.path).read_bytes()
    with open(fault.path, "wb") as file:
        file.write(data[: len(data) // 2])


def _clock_back(fault: Fault) -> None:
    real = time.time
    time.time = lambda: real() - 86_400.0


FAULTS: dict[str, Callable[[Fault], None]] = {
    "kill": _send(signal.SIGKILL),
    "terminate": _send(signal.SIGTERM),
    "interrupt": _send(signal.SIGINT),
    "full": _refuse(errno.ENOSPC),
    "read-only": _refuse(errno.EROFS),
    "vanish": lambda fault: shutil.rmtree(fault.path, ignore_errors=True),
    "remove": lambda fault: os.unlink(fault.path),
    "truncate": _truncate,
    "clock": _clock_back,
}
LASTING = ("full", "read-only")  # from that change on


class Breaking:
    """The program, running, for a `with` block."""

    def __enter__(self) -> Breaking:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self._answer() == "ready"
        return self

    def __exit__(self, *error: object) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._process.stdout.close()

    def run(
        self, arguments: list[str], cwd: Path, fault: Fault | None = None, kill_after: float | None = None
    ) -> Ended:
        """Run `semalign` in a folder.

        Args:
            arguments: of the command line.
            cwd: the folder.
            fault: what happens to it.
            kill_after: seconds after which it is killed.
        """
        log = cwd.parent / f"{cwd.name}.log"
        asked = {"arguments": arguments, "cwd": str(cwd), "log": str(log), "fault": asdict(fault or Fault())}
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        pid = int(self._answer())
        if kill_after is not None:
            timer = threading.Timer(kill_after, _kill, [pid])
            timer.start()
        status, seconds = self._answer().split()
        if kill_after is not None:
            timer.cancel()
        count = Path(f"{log}.changes")
        changes = int(count.read_text()) if count.is_file() else 0
        return Ended(int(status), log.read_text(errors="replace"), changes, float(seconds))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@dataclass
class _Hook:
    """Counts changes below a folder, and breaks the process at one of them."""

    fault: Fault
    changes: int = 0
    armed: bool = True
    own: threading.local = field(default_factory=threading.local)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            writes = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            paths = [path] if writes else []
        elif event in CHANGES:
            paths = [arguments[place] for place in CHANGES[event]]
        else:
            return
        if getattr(self.own, "busy", False) or not any(self._below(path) for path in paths):
            return
        self.own.busy = True
        try:
            self.changes += 1
            self._strike(event)
        finally:
            self.own.busy = False

    def _strike(self, event: str) -> None:
        fault = self.fault
        if fault.kind in LASTING:
            if self.changes >= fault.at and (event in GROWING or (fault.kind == "read-only" and event in REFUSED)):
                FAULTS[fault.kind](fault)
        elif fault.kind and self.armed and self.changes >= fault.at:
            self.armed = False
            FAULTS[fault.kind](fault)

    def _below(self, path: Any) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        return os.path.realpath(os.fsdecode(path)).startswith(self.fault.below)


def _serve() -> None:
    import accelerate  # noqa: F401
    import cv2
    import matplotlib.figure  # noqa: F401
    import onnxruntime  # noqa: F401
    import pyarrow.parquet  # noqa: F401
    import torch

    import semalign.auditing.cleaning
    import semalign.auditing.make
    import semalign.cli.app
    import semalign.cli.tables
    import semalign.detect.writers
    import semalign.export
    import semalign.label_bench
    import semalign.paper
    import semalign.pipeline.cross_fitting
    import semalign.report
    import semalign.review.index
    import semalign.synthetic  # noqa: F401

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _work(asked)
        print(pid, file=answers, flush=True)
        _, ended, used = os.wait4(pid, 0)
        print(os.waitstatus_to_exitcode(ended), used.ru_utime + used.ru_stime, file=answers, flush=True)
    os._exit(0)  # taking everything apart takes seconds


def _work(asked: dict[str, Any]) -> None:
    """A command, in a process of its own; never returns."""
    import resource

    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(asked["cwd"])
    fault = Fault(**asked["fault"])
    if fault.limit is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (fault.limit, fault.limit))
    hook = _Hook(fault)
    if fault.below:
        sys.addaudithook(hook)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["semalign", *asked["arguments"]]
    status = 1
    try:
        from semalign.cli.app import main

        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        hook.fault = Fault()
        sys.stdout.flush()
        sys.stderr.flush()
        if fault.limit is None:
            Path(f"{asked['log']}.changes").write_text(str(hook.changes))
        os._exit(status)


if __name__ == "__main__":
    _serve()
