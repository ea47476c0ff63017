from dataclasses import replace

import numpy as np
import torch

from avsegcli.analysis.cached_network import CachedNetwork
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.inference.torch_predictor import Predictor

CPU = torch.device("cpu")


def test_a_network_that_is_asked_once_answers_as_if_it_were_asked_again(untrained):
    loaded = load_checkpoint(untrained)
    asked = []
    loaded.model.register_forward_hook(lambda *_: asked.append(1))
    rng = np.random.default_rng(0)
    clips = [
        (rng.integers(0, 256, (2, 32, 64, 3), np.uint8), rng.normal(size=(2, 96, 64)))
        for _ in range(2)
    ]
    recorder = CachedNetwork(loaded.model)
    for threshold in (0.01, 0.3):
        config = replace(loaded.config, class_threshold=threshold)
        recorded = Predictor.from_model(loaded._replace(model=recorder, config=config), CPU)
        answers = [recorded.predict(list(f), s.astype(np.float32)) for f, s in clips]
        recorder.replay()
        assert len(asked) == len(clips)
    direct = Predictor.from_model(loaded._replace(config=config), CPU)
    for answer, (frames, sound) in zip(answers, clips, strict=True):
        assert np.array_equal(answer, direct.predict(list(frames), sound.astype(np.float32)))
