"""Batches of videos: distribution over workers, skipped inputs, and results."""

import json
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event as Flag
from typing import Any

from avsegcli.device import memory_limit
from avsegcli.errors import (
    AvsegError,
    ConfigError,
    MediaError,
    OutOfMemoryError,
    format_os_error,
    is_out_of_memory,
)
from avsegcli.files.atomic import check_can_write, resolved_path, write_atomically
from avsegcli.files.preflight import PlannedOutput, check_conflicts
from avsegcli.outputs.frame_result import Summary
from avsegcli.outputs.plan import Outputs
from avsegcli.segment.inputs import Input, are_several, check_apart, find_inputs, is_folder
from avsegcli.segment.options import SegmentOptions
from avsegcli.segment.segmenter import Progress, Segmenter
from avsegcli.video.containers import CONTAINERS

NAME = "{name}"  # in the name of an output: sub-folders and name of the input
ENDS = ("/", os.sep)  # of the name of a folder, even of one that is not there yet
SUFFIXES = {"json": ".json", "alpha_video": ".mov", "timeline": ".png", "report": ".html"}


@dataclass
class Job:
    """One video, its outputs, and then its result."""

    video: Path
    outputs: Outputs
    make_folders: bool = False  # that the outputs go to
    status: str = "waiting"  # then "done", "skipped", "failed" or "interrupted"
    error: str = ""
    hint: str = ""
    seconds: float = 0.0  # that it took
    problems: list[str] = field(default_factory=list)
    summary: Summary | None = None

    def fail(self, error: AvsegError | OSError) -> None:
        """Record an error and end this job."""
        self.status = "failed"
        if isinstance(error, AvsegError):
            self.error, self.hint = error.message, error.hint
        else:
            self.error = format_os_error(error)

    def as_record(self) -> dict[str, Any]:
        """Return the entry of this video in the summary of a run."""
        return {
            "file": str(self.video),
            "status": self.status,
            "error": self.error or None,
            "seconds": round(self.seconds, 3),
            "outputs": [str(path) for path in self.outputs.paths() if path.exists()]
            if self.status in ("done", "skipped")
            else [],
            "problems": self.problems,
        }


@dataclass(frozen=True)
class Batch:
    """All that one command has to do."""

    jobs: Sequence[Job]  # those of its shard
    several: bool  # there may be several inputs, even if only one was found
    options: SegmentOptions
    overwrite: bool  # replace outputs that exist
    summary: Path | None  # where to write how each job went

    @property
    def is_waiting(self) -> bool:
        """Whether there is anything to do."""
        return any(job.status == "waiting" for job in self.jobs)

    def check_files(self, segmenter: Segmenter) -> None:
        """Check the files of a single video before the model is loaded."""
        job = self.jobs[0] if len(self.jobs) == 1 and not self.several else None
        if job is None or job.status != "waiting" or job.make_folders:
            return
        try:
            segmenter.check_files(
                job.video,
                job.outputs,
                self.options,
                overwrite=self.overwrite,
            )
        except (AvsegError, OSError) as error:
            job.fail(error)
            self.write_summary()
            raise

    def run(
        self,
        segmenter: Segmenter,
        *,
        workers: int = 1,
        progress: Callable[[Job, float, float | None], None] | None = None,
        finished: Callable[[Job], None] | None = None,
    ) -> None:
        """Work on all jobs that wait; one that fails does not stop the rest.

        The summary is written anew after each, so that it is right even if the process is killed.

        Args:
            segmenter: does the work; shared by all workers.
            workers: jobs worked on at a time, each in a thread.
            progress: is told of a job how many seconds are done, and of how many.
            finished: is told of each job when it has ended.

        Raises:
            KeyboardInterrupt: if interrupted; unfinished jobs are marked so, and leave no file.
        """
        waiting = [job for job in self.jobs if job.status == "waiting"]
        stopped = Flag()

        def work(job: Job) -> None:
            def report(seconds: float, total: float | None) -> None:
                if stopped.is_set():
                    raise KeyboardInterrupt
                if progress is not None:
                    progress(job, seconds, total)

            if not stopped.is_set():
                self._work(job, segmenter, report)

        def end(job: Job) -> None:
            if finished is not None:
                finished(job)
            with suppress(AvsegError):  # it is told at the end if it still cannot be written
                self.write_summary()

        try:
            if workers == 1:
                for job in waiting:
                    work(job)
                    end(job)
                return
            with ThreadPoolExecutor(workers) as pool:
                try:
                    running = {pool.submit(work, job): job for job in waiting}
                    for future in as_completed(running):
                        future.result()
                        end(running[future])
                except BaseException:
                    stopped.set()
                    pool.shutdown(cancel_futures=True)
                    raise
        finally:
            for job in waiting:
                if job.status == "waiting":
                    job.status = "interrupted"
            self.write_summary()

    def _work(self, job: Job, segmenter: Segmenter, progress: Progress) -> None:
        begun = time.monotonic()
        try:
            if job.make_folders:
                for path in job.outputs.paths():
                    with suppress(FileExistsError):  # a file, or a link to nowhere: refused below
                        path.parent.mkdir(parents=True, exist_ok=True)
            job.summary = segmenter.write(
                job.video,
                job.outputs,
                self.options,
                overwrite=self.overwrite,
                progress=progress,
            )
            job.problems = job.summary.problems
            job.status = "done"
        except ConfigError:
            raise
        except (AvsegError, OSError) as error:
            job.fail(OutOfMemoryError(memory_limit()) if is_out_of_memory(error) else error)
        except Exception as error:  # a bug, or no memory: the other files may still be done
            if is_out_of_memory(error):
                job.fail(OutOfMemoryError(memory_limit()))
                return
            if len(self.jobs) == 1:
                raise
            traceback.print_exc()
            job.status, job.error = "failed", f"{type(error).__name__}: {error}"
        finally:
            job.seconds = time.monotonic() - begun

    def write_summary(self) -> None:
        """Write how each job went, as JSON, if that is wanted."""
        if self.summary is not None:
            records = [job.as_record() for job in self.jobs]
            write_atomically(self.summary, json.dumps(records, indent=1, ensure_ascii=False) + "\n")


def plan_batch(
    words: Sequence[str],
    wanted: Mapping[str, Sequence[str]],
    options: SegmentOptions,
    *,
    shard: tuple[int, int] = (1, 1),
    summary: Path | None = None,
    also_read: Sequence[Path] = (),
    resume: bool = False,
    overwrite: bool = False,
) -> Batch:
    """Find the inputs, name the outputs, and check both.

    Args:
        words: the inputs, see `avsegcli.segment.inputs.find_inputs`.
        wanted: the outputs, see `plan`.
        options: what is analysed, and how it is shown.
        shard: which of how many shares of the inputs, from 1 on.
        summary: where to write how each input went; of a share, its number is added to the name.
        also_read: other files that no output may replace.
        resume: skip what is complete.
        overwrite: replace outputs that exist.

    Raises:
        MediaError: if an input is not found, or an output cannot be written.
        ConfigError: if an option is wrong, or one file would be two things.
    """
    several, pictures = are_several(words), options.audio is not None
    folders = folders_of(wanted, pictures=pictures) if several else []
    inputs = find_inputs(words, pictures=pictures, outside=folders)
    everything = plan(inputs, wanted, several=several)
    jobs = share(everything, shard)
    _check_formats(options, jobs)
    files = [file for job in everything for file in job.outputs.planned(job.video)]
    if summary is not None:
        if shard[1] > 1:
            summary = summary.with_stem(f"{summary.stem}-{shard[0]}-of-{shard[1]}")
        check_can_write(summary)
        files.append(PlannedOutput(summary))
    check_conflicts(files, [*also_read, *(one.path for one in inputs)])
    check_apart((file.path for file in files), words, pictures=pictures, outside=folders)
    settle_existing(jobs, resume=resume, overwrite=overwrite)
    return Batch(jobs, several, options, overwrite or resume, summary)


def _check_formats(options: SegmentOptions, jobs: Sequence[Job]) -> None:
    of_each_kind = {job.outputs.output and job.outputs.output.suffix: job for job in jobs}
    for job in of_each_kind.values():
        job.outputs.check_formats()
        options.encoding.check(job.outputs.output)


def plan(
    inputs: Sequence[Input], wanted: Mapping[str, Sequence[str]], *, several: bool
) -> list[Job]:
    """Name the outputs of each input.

    Args:
        inputs: the videos.
        wanted: for each field of `Outputs` what the user named: the file; or, in which `{name}`
            stands for sub-folders and name of the input, a pattern; or a folder.
        several: what is named are folders or patterns, even of one input.

    Raises:
        ConfigError: if one file is named for several inputs.
    """
    jobs = []
    for one in inputs:
        named: dict[str, Any] = {
            key: [_name(text, key, one, several=several) for text in texts]
            for key, texts in wanted.items()
        }
        timeline = named.pop("timeline", [])
        first = {key: paths[0] for key, paths in named.items() if paths}
        if "output" in first and "alpha_video" in first:
            first["alpha_video"] = _beside(first["output"], first["alpha_video"], wanted)
        texts = [text for given in wanted.values() for text in given]
        folders = several or any(NAME in text or text.endswith(ENDS) for text in texts)
        jobs.append(Job(one.path, Outputs.of(**first, timeline=timeline), folders))
    return jobs


def _name(text: str, key: str, one: Input, *, several: bool) -> Path:
    if NAME in text:
        return Path(text.replace(NAME, str(one.name)))
    path = Path(text)
    if key == "masks":
        return path / one.name if several else path
    folder = is_folder(path) or text.endswith(ENDS)
    if not several and not folder:
        return path
    if several and path.suffix and not folder:
        raise ConfigError(
            f"{text} is one file, but there may be several inputs",
            f"Name a folder, or put {NAME} in the name: {path.with_name(NAME + path.suffix)}",
        )
    suffix = SUFFIXES.get(key)
    if suffix is None:  # the painted video
        own = one.path.suffix.lower()
        suffix = own if own in CONTAINERS else ".mp4"
    return path / one.name.with_name(one.name.name + suffix)


def _beside(output: Path, cut: Path, wanted: Mapping[str, Sequence[str]]) -> Path:
    """Return another name for the video with alpha if both are named after a .mov in one folder."""
    text = wanted["alpha_video"][0]
    if NAME in text or Path(text) == cut or resolved_path(cut) != resolved_path(output):
        return cut
    return cut.with_stem(f"{cut.stem}-alpha")


def folders_of(wanted: Mapping[str, Sequence[str]], *, pictures: bool) -> list[Path]:
    """Return the folders of those outputs that could be taken for inputs.

    Example:
        >>> [str(path) for path in folders_of({"output": ["out/{name}.mov"]}, pictures=False)]
        ['out']
    """
    kinds = (
        ("output", "alpha_video", "masks", "timeline") if pictures else ("output", "alpha_video")
    )
    texts = [text for kind in kinds for text in wanted.get(kind, ())]
    return [
        Path(f"{text.partition(NAME)[0]}x").parent if NAME in text else Path(text) for text in texts
    ]


def share(jobs: Sequence[Job], shard: tuple[int, int]) -> list[Job]:
    """Return the jobs of shard I of N, I from 1 on: every Nth.

    Raises:
        ConfigError: if there is no such shard.
    """
    number, count = shard
    if not 1 <= number <= count:
        raise ConfigError(f"there is no shard {number} of {count}", "The first is 1/N, then 2/N.")
    return list(jobs[number - 1 :: count])


def parse_shard(text: str | None, environment: Mapping[str, str]) -> tuple[int, int]:
    """Read `I/N`; None: the rank that torchrun gives this process, else all.

    Raises:
        ConfigError: if it is not of that form.

    Example:
        >>> parse_shard("2/8", {}), parse_shard(None, {"RANK": "0", "WORLD_SIZE": "4"})
        ((2, 8), (1, 4))
    """
    if text is None:
        rank, count = environment.get("RANK", "0"), environment.get("WORLD_SIZE", "1")
        text = f"{int(rank) + 1}/{count}" if rank.isdigit() else "1/1"
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal()):
        raise ConfigError(f"--shard must be I/N, not '{text}'", "For example --shard 1/8.")
    return int(first), int(second)


def settle_existing(jobs: Sequence[Job], *, resume: bool, overwrite: bool) -> None:
    """Mark as skipped what is complete, or refuse it; what may not be looked at has failed.

    Raises:
        MediaError: if outputs exist and are neither to be skipped nor replaced.
    """
    exist: list[Path] = []
    for job in jobs:
        try:
            if resume and job.outputs.are_complete():
                job.status = "skipped"
            elif not (resume or overwrite):
                exist += [path for path in job.outputs.paths() if _holds_something(path)]
        except OSError as error:
            job.fail(error)
    if len(exist) > 1 or (exist and len(jobs) > 1):
        raise MediaError(
            f"{len(exist)} of the outputs exist already, the first is {exist[0]}",
            "Give --resume to skip what is complete, or --overwrite to replace it.",
        )


def _holds_something(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))
