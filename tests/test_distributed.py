import pickle
import threading

import numpy as np
import pytest
from drawn_clips import Clips, Sees, clip

from avsegcli.distributed import SINGLE_PROCESS, Processes, launch, launched_processes
from avsegcli.errors import ConfigError, DataError
from avsegcli.evaluation.evaluator import evaluate
from avsegcli.evaluation.gallery import BestAndWorst
from avsegcli.evaluation.metrics.avsbench import PerFrame, ScoredFrame
from avsegcli.evaluation.read_ahead import read_ahead


def together(number, task):
    """Run a task in threads that can exchange what they found, as processes do."""
    barrier, found, results = threading.Barrier(number, timeout=20), [None] * number, {}

    def run(rank):
        def collect(values):
            found[rank] = pickle.dumps(values)
            barrier.wait()
            everything = [value for values in found for value in pickle.loads(values)]
            barrier.wait()
            return everything

        results[rank] = task(Processes(rank, number, collect))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [results[rank] for rank in range(number)]


def random_clips():
    random = np.random.default_rng(0)
    return Clips(
        [
            clip(
                f"{n}", random.integers(0, 3, (2, 24, 24)), shown=random.integers(0, 3, (2, 24, 24))
            )
            for n in range(7)
        ]
    )


@pytest.mark.parametrize("number", [2, 3])
def test_several_processes_find_what_one_finds(number):
    def task(processes):
        gallery = BestAndWorst(count=2)
        scores = evaluate(Sees(), random_clips(), listen=True, gallery=gallery, processes=processes)
        return scores, [e.name for e in (*gallery.worst(), *gallery.best())]

    assert together(number, task) == [task(SINGLE_PROCESS)] * number


@pytest.mark.parametrize("workers", [2, 20])
def test_several_workers_find_what_one_finds(workers):
    clips = random_clips()
    assert evaluate(Sees(), clips, workers=workers) == evaluate(Sees(), clips)


def test_clips_are_read_in_order_and_not_further_ahead_than_there_are_workers():
    asked = []

    class Counting(list):
        def __getitem__(self, index):
            asked.append(index)
            return index

    clips = read_ahead(Counting(), range(8), workers=3)
    assert next(clips) == 0
    assert max(asked) <= 3
    assert list(clips) == [1, 2, 3, 4, 5, 6, 7]


def test_a_clip_that_cannot_be_read_is_told_and_the_threads_end():
    class Damaged(list):
        def __getitem__(self, index):
            if index == 1:
                raise DataError("clip 1 is damaged")
            return index

    before = threading.active_count()
    clips = read_ahead(Damaged(), range(5), workers=2)
    assert next(clips) == 0
    with pytest.raises(DataError, match="clip 1 is damaged"):
        next(clips)
    assert threading.active_count() == before


def test_more_processes_than_clips_are_fine():
    clips = Clips([clip("only", np.ones((1, 24, 24), np.uint8))])
    scores = together(3, lambda processes: evaluate(Sees(), clips, processes=processes))
    assert scores == [evaluate(Sees(), clips)] * 3


def test_tasks_are_divided_and_their_results_in_order():
    assert SINGLE_PROCESS.divide(3, lambda number: number**2) == [0, 1, 4]
    assert (
        together(2, lambda processes: processes.divide(5, str)) == [["0", "1", "2", "3", "4"]] * 2
    )


def test_a_frame_in_two_processes_is_an_error():
    def frames():
        target = np.ones((2, 2), np.uint8)
        results = PerFrame()
        results.keep(ScoredFrame("clip", 0, target.astype(np.float32), target, target), 1)
        return results

    with pytest.raises(ValueError, match="frame 0 of clip 'clip' is scored twice"):
        frames().merge(frames())


def test_a_process_that_was_started_alone_has_no_others(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched_processes() is None


@pytest.mark.parametrize(("gpus", "code"), [(1, None), (3, 7)])
def test_one_process_is_launched_for_each_gpu(monkeypatch, gpus, code):
    commands = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("subprocess.call", lambda command: commands.append(command) or 7)
    if code is None:
        with pytest.raises(ConfigError, match="this machine has 1 GPUs"):
            launch(["eval"])
    else:
        assert launch(["eval", "--multi-gpu"]) == code
        assert commands[0][-6:] == [
            "--nproc_per_node",
            "3",
            "-m",
            "avsegcli",
            "eval",
            "--multi-gpu",
        ]
