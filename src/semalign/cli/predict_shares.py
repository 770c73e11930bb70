"""What `semalign predict` does where several processes share the pictures (`semalign.detect.shares`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from semalign.cli.predicting import Work
from semalign.cli.progress import RichProgress
from semalign.cli.sharing import say_of_shard
from semalign.detect import Detector, Source, folders
from semalign.detect.boxes import BoxFile
from semalign.detect.finding import Recording
from semalign.detect.folders import Outcome
from semalign.detect.names import Names
from semalign.detect.shares import Shares
from semalign.detect.writers import ResultFolder
from semalign.locks import among_others, one_writer, several_processes
from semalign.models import pretrained
from semalign.parts import Share
from semalign.progress import Progress, SilentProgress


class SharedPrediction:
    """Pictures that several processes look at.

    Args:
        folder: of the results.
        formats: of the results.
        sources: all of them, with the names that they have taken.
        detector: finds the faces.
        boxes: that are given.
        about: says where the results come from.
        workers: threads.
    """

    def __init__(
        self,
        folder: Path,
        formats: Sequence[str],
        sources: tuple[list[Source], Names],
        detector: Detector,
        boxes: BoxFile | None,
        about: dict[str, Any],
        workers: int,
    ) -> None:
        self.folder, self.formats, self.detector, self.boxes = folder, formats, detector, boxes
        (self.sources, self.names), self.about, self.workers = sources, about, workers
        if boxes is not None:
            boxes.expect(source.name for source in self.sources)
        backend = self.detector.landmarker.backend
        depends: list[Any] = [about, list(detector.scheme.landmarks), str(getattr(backend, "precision", ""))]
        depends += [pretrained.resolve(about["model"]).read_bytes(), b"" if boxes is None else boxes.path.read_bytes()]
        self.shares = Shares(folder, formats, self.sources, depends)

    def work(self, share: Share, progress: RichProgress) -> None:
        """The share of one process; says what is missing of the others."""
        with among_others(self.folder):
            self.shares.begin()
            self._look(share, progress)
        say_of_shard(share, len(self.shares.parts.missing()))

    def together(self, progress: RichProgress) -> tuple[Work, list[str]] | None:
        """Do what is missing and make the results of all; what was done, and a sentence for each picture without a face.

        The processes of `torchrun` share what is missing; the first of them makes the results, the others return None.

        Raises:
            SemalignError: shares of other work, or results that cannot be written.
        """
        with one_writer(self.folder):
            self.shares.begin()
            if not several_processes():
                self._look(Share(), progress)
            elif not self._with_others(progress):
                return None
            results = ResultFolder(self.folder, self.formats, self.detector.scheme, self.about, shared=True)
            with results:
                results.names = self.names
                work = Work(self.detector, results, self.boxes, progress, None, False, self.workers)
                problems = work.count(self.shares.put_together(results), len(self.sources), "putting together")
            self.shares.clear()
        return work, problems

    def _with_others(self, progress: RichProgress) -> bool:
        """This process's share under `torchrun`; whether it is the first, once all are done."""
        from semalign.pipeline.processes import commit_together, own_share

        share = own_share()
        self._look(share, progress if share.index == 1 else SilentProgress())
        commit_together([self.shares.parts])
        return share.index == 1

    def _look(self, share: Share, progress: Progress) -> None:
        def look(sources: Sequence[Source], results: Recording) -> Iterable[Outcome]:
            return folders.detect_pictures(self.detector, sources, results, self.boxes, self.workers)

        with progress.stage("pictures", len(self.sources) // share.count) as advance:
            self.shares.work(share, look, advance)
