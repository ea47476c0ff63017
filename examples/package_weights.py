"""Choose how a model's class scores are made, on validation clips, and store it in half precision.

    python examples/package_weights.py runs/lite/best.safetensors --data PARTS -o lite.safetensors

Chosen are the exponents of decoder, tokens, audio classifier, picture and tags (`score_fusion`),
the weight of the picture alone (`visible_share`) and the class threshold, by J (avsbench) + mIoU of
the classes present (avss) - half of the area painted with a mismatched sound (swap), on composed
clips of the split val. The network runs once; the choices differ in the fusion of its outputs.
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
    (0.4, 0.1, 0.2, 0.3, 0.2),
    (0.3, 0.1, 0.2, 0.3, 0.3),
    (0.2, 0.1, 0.2, 0.3, 0.3),
)
VISIBLE_SHARES = (0.3, 0.5, 0.7)
THRESHOLDS = (0.06, 0.1, 0.15, 0.2)


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
    parts = Parts(arguments.data, "val", loaded.classes[1:])
    composer = Composer(parts, task="semantic", aspect="mixed", size=loaded.config.size)
    clips = ComposedDataset(composer, 0, arguments.clips)
    network = CachedNetwork(loaded.model.eval())
    results = {}
    for fusion, share, threshold in itertools.product(SCORE_FUSIONS, VISIBLE_SHARES, THRESHOLDS):
        config = replace(
            loaded.config, score_fusion=fusion, visible_share=share, class_threshold=threshold
        )
        choice = loaded._replace(model=network, config=config)
        scores = evaluate(Predictor.from_model(choice, torch.device("cpu")), clips, listen=True)
        network.replay()
        results[config] = value(scores)
        print(
            f"score fusion {fusion}, visible share {share}, threshold {threshold:.2f}:"
            f" J {scores.avsbench.j:.3f}, mIoU of present classes {scores.avss.miou_present:.3f},"
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
        f"{arguments.output}: score fusion {best.score_fusion}, visible share"
        f" {best.visible_share}, threshold {best.class_threshold:.2f}"
    )


if __name__ == "__main__":
    main()
