"""Choose how a model's class scores are made, on validation clips, and store it in half precision.

    python examples/package_weights.py runs/lite/best.safetensors --data PARTS -o lite.safetensors

What is chosen: the exponents of decoder, tokens, sound and picture (`score_fusion`) and the class
threshold, by binary J (avsbench) + mIoU of the classes present (avss) - half of the area that is
painted with the sound of something else (swap), on composed clips of the split val. The network is
asked once; the choices differ in what is made of its answers.
"""

import argparse
import itertools
from dataclasses import replace
from pathlib import Path

import torch

from avsegcli.analysis.cached_network import CachedNetwork
from avsegcli.evaluation.evaluator import Scores, evaluate
from avsegcli.inference.checkpoint import load_checkpoint, save_checkpoint
from avsegcli.inference.torch_predictor import Predictor
from avsegcli.synthesis.composer import ComposedDataset, Composer
from avsegcli.synthesis.parts import Parts

SCORE_FUSIONS = (
    (0.6, 0.1, 0.1, 0.3),
    (0.5, 0.1, 0.2, 0.3),
    (0.5, 0.1, 0.25, 0.3),
    (0.45, 0.1, 0.25, 0.3),
)
THRESHOLDS = (0.1, 0.12, 0.14, 0.16, 0.18, 0.2, 0.23)


def value(scores: Scores) -> float:
    assert scores.listening is not None
    return scores.avsbench.j + scores.avss.miou_present - 0.5 * (scores.listening.swap or 0.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("weights", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="a parts folder")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--name", default="lite")
    parser.add_argument("--clips", type=int, default=100)
    arguments = parser.parse_args()

    loaded = load_checkpoint(arguments.weights)
    composer = Composer(Parts(arguments.data, "val"), task="semantic", aspect="mixed")
    clips = ComposedDataset(composer, 0, arguments.clips)
    recorder = CachedNetwork(loaded.model.eval())
    results = {}
    for score_fusion, threshold in itertools.product(SCORE_FUSIONS, THRESHOLDS):
        config = replace(loaded.config, score_fusion=score_fusion, class_threshold=threshold)
        choice = loaded._replace(model=recorder, config=config)
        scores = evaluate(Predictor.from_model(choice, torch.device("cpu")), clips, listen=True)
        recorder.replay()
        results[config] = value(scores)
        print(
            f"agreement {score_fusion}, threshold {threshold:.2f}: J {scores.avsbench.j:.3f},"
            f" mIoU of present classes {scores.avss.miou_present:.3f},"
            f" swap {scores.listening.swap:.3f}",
            flush=True,
        )
    best = max(results, key=results.__getitem__)
    save_checkpoint(
        arguments.output,
        load_checkpoint(arguments.weights).model,
        best,
        loaded.classes,
        name=arguments.name,
        half=True,
    )
    print(
        f"{arguments.output}: agreement {best.score_fusion}, threshold {best.class_threshold:.2f}"
    )


if __name__ == "__main__":
    main()
