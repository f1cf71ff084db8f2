"""What catalogs and stores do to a commit."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, ClassVar

from tickerlake.proof.base import Fault, Group

if TYPE_CHECKING:
    from tickerlake.proof.run import Run

__all__ = ["AnswerLost", "AnsweredWithErrors", "CatalogFault", "DiskFull", "Resent", "UploadCut"]


class CatalogFault(Fault):
    """A fault of the group, which strikes while a worker holds records."""

    group: ClassVar[Group] = "catalog"


class Answered(CatalogFault):
    """Commits get other answers than the truth, while a rival delivers the same records."""

    answers: ClassVar[tuple[str, ...]]

    def strike(self, run: Run) -> None:
        """The worker stands before its commit, is answered wrongly, and may be overtaken."""
        run.publish()
        if run.random.random() < 0.5:
            run.deliver()
            run.publish()
        answers = [run.random.choice(self.answers) for _ in range(run.random.randint(1, 4))]
        worker = run.paused("8a", commits=answers)
        run.struck("commit " + ", ".join(answers), worker)
        overtaken = run.random.random() < 0.3
        if overtaken:
            run.deliver()
        killed = run.random.random() < 0.2
        worker.signal(signal.SIGKILL if killed else signal.SIGCONT)
        run.expect_end(worker, "SIGKILL")
        run.judge()


class AnswerLost(Answered):
    """It landed, and nobody heard of it."""

    name = "catalog-answer-lost"
    what = "a commit is applied, its answer is lost"
    answers = ("landed", "landed 500", "landed 503")


class Resent(Answered):
    """It landed, and an SDK or a proxy sent the request once more."""

    name = "catalog-resent"
    what = "a commit is applied and its request sent again: the table must stay readable"
    answers = ("resent", "landed 409", "landed 412")


class AnsweredWithErrors(Answered):
    """It did not land."""

    name = "catalog-errors"
    what = "commits are refused, or answered 409, 412, 500 or 503 SlowDown"
    answers = ("refused", "unknown", "412", "500", "503")


class UploadCut(CatalogFault):
    """A data or metadata file is cut off in the middle of its write."""

    name = "store-upload-cut"
    what = "the write of a file is cut off in its middle"
    needs = frozenset({"local disk"})

    def strike(self, run: Run) -> None:
        """The operating system takes so many bytes of a file and no more."""
        run.publish()
        step = run.random.choice(["5", "6", "7", "3", "8a"])
        cut = run.random.choice([0, 300, 700, 1500, 2500, 5000])
        worker = run.paused(step, nth=run.some_time(step), ills={"file_bytes": cut})
        run.struck(f"files cut at {cut} bytes after {step}", worker)
        worker.signal(signal.SIGCONT)
        if run.expect_end(worker, "StorageError", "CommitUnknownError") is None:
            run.missed("no file was as large")
        run.judge()


class DiskFull(CatalogFault):
    """No room is left from one step on."""

    name = "store-disk-full"
    what = "the lake's disk is full, for data files or for metadata"
    needs = frozenset({"local disk"})

    def strike(self, run: Run) -> None:
        """A clear error and no damage; with room again the next worker goes on."""
        run.publish()
        step = run.random.choice(["5", "6", "7", "3", "8a"])
        where = run.random.choice(["data", "metadata"])
        worker = run.paused(step, nth=run.some_time(step), ills={"full_disk": where})
        run.struck(f"{where} full after {step}", worker)
        worker.signal(signal.SIGCONT)
        run.expect_end(worker, "StorageError", "CommitUnknownError")
        run.judge()
