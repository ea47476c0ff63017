"""Make scenes with pseudo-masks of photos with boxes and of videos without labels.

    python examples/pseudo_label.py --parts PARTS --videos VIDEOS --weights visible.safetensors \
        --audio audio.safetensors -o MORE

A model whose visible head is trained says what is where; what it is unsure of becomes "ignore".

- PARTS/players: photos and boxes.csv (file, class, x0, y0, x1, y1). Inside a box everything that is
  an object but no person is the class of the box. Photos in which that fills too little or too much
  of a box are left out.
- VIDEOS: frames in which the class that AudioSet's tags hear is clearly visible.

MORE becomes a parts folder of these scenes and the sounds of PARTS.
"""

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from avsegcli.audio.log_mel import SAMPLE_RATE, log_mel_example
from avsegcli.datasets.clip import IGNORE
from avsegcli.datasets.io import read_soundtrack
from avsegcli.inference.checkpoint import load_checkpoint
from avsegcli.inference.preprocess import prepare_frames
from avsegcli.model.pretrained import load_audio_weights

SURE, LIKELY = 0.6, 0.45  # probabilities
FILLED = (0.10, 0.80)  # share of a box that its object fills
HEARD, CLEAR = 0.1, 0.02  # tag probability, and share of the frame
FRAMES = 4  # of each video


class Labeller:
    """Asks the visible head, and AudioSet's tags.

    Args:
        weights: of a model.
        audio: of its audio encoder.
    """

    def __init__(self, weights: Path, audio: Path) -> None:
        loaded = load_checkpoint(weights)
        self.model, self.classes = loaded.model, loaded.classes
        load_audio_weights(self.model.audio_encoder, self.model.heard, audio)
        self.model.tag_prior.name_classes(self.classes[1:])
        self.person = self.classes.index("person")

    @torch.inference_mode()
    def visible(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Compute class probabilities (L + 1, H, W) of a picture (H, W, 3)."""
        frames, (height, width) = prepare_frames([picture], 384)
        logits = self.model.segment_visible(torch.from_numpy(frames).permute(0, 3, 1, 2)[None])[0]
        probs = logits.softmax(1)[..., : height // 8, : width // 8]
        return F.interpolate(probs, size=picture.shape[:2], mode="bilinear")[0].numpy()

    @torch.inference_mode()
    def heard(self, waveform: NDArray[np.float32]) -> tuple[int, float]:
        """Find the likeliest class in a sound, and its probability."""
        starts = range(0, max(1, len(waveform) - SAMPLE_RATE), SAMPLE_RATE // 2)
        mel = torch.from_numpy(np.stack([log_mel_example(waveform, start) for start in starts]))
        probs = self.model.tag_prior(self.model.audio_encoder(mel[:, None])[1]).mean(0)
        best = int(probs.argmax())
        return best + 1, float(probs[best])

    def label(self, probs: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Keep what is surely of a class."""
        labels = probs.argmax(0).astype(np.uint8)
        labels[probs.max(0) < SURE] = IGNORE
        return labels


def label_photo(
    labeller: Labeller, photo: NDArray[np.uint8], boxes: list[list[float]], index: int
) -> NDArray[np.uint8] | None:
    """Label a photo with boxes of one class; None if that fails."""
    probs = labeller.visible(photo)
    person, background = probs[labeller.person], probs[0]
    inside = np.zeros(photo.shape[:2], bool)
    places = []
    for x0, y0, x1, y1 in boxes:
        places.append((slice(max(int(y0), 0), int(y1)), slice(max(int(x0), 0), int(x1))))
        inside[places[-1]] = True
    labels = np.full(photo.shape[:2], IGNORE, np.uint8)
    labels[(~inside & (background > SURE)) | (inside & (background > 0.75))] = 0
    labels[person > SURE] = labeller.person
    labels[inside & (1 - person - background > LIKELY) & (person < LIKELY)] = index
    shares = [(labels[place] == index).mean() for place in places]
    unknown = [(labels[place] == IGNORE).mean() for place in places]
    good = all(FILLED[0] < share < FILLED[1] for share in shares) and max(unknown) < 0.5
    return labels if good else None


def read_frames(path: Path) -> list[NDArray[np.uint8]]:
    """Read some frames, evenly spread."""
    video = cv2.VideoCapture(str(path))
    count = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = {int(x) for x in np.linspace(0.1, 0.9, FRAMES) * count}
    found = []
    for number in range(count):
        there, frame = video.read()
        if there and number in wanted:
            found.append(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--parts", type=Path, required=True)
    parser.add_argument("--videos", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--audio", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()

    labeller = Labeller(arguments.weights, arguments.audio)
    scenes = arguments.output / "scenes"
    scenes.mkdir(parents=True, exist_ok=True)
    for kind in ("objects", "backgrounds", "sounds", "noise"):
        if not (arguments.output / kind).exists():
            (arguments.output / kind).symlink_to((arguments.parts / kind).resolve())
    indices = {name: index for index, name in enumerate(labeller.classes)}
    (scenes / "classes.json").write_text(json.dumps(indices | {"ignore": IGNORE}))

    def write(name: str, picture: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(scenes / f"{name}.jpg"), bgr, [cv2.IMWRITE_JPEG_QUALITY, 92])
        cv2.imwrite(str(scenes / f"{name}.png"), labels)

    boxes = defaultdict(list)
    table = arguments.parts / "players" / "boxes.csv"
    for row in csv.DictReader(table.open()) if table.exists() else []:
        corners = [float(row[key]) for key in ("x0", "y0", "x1", "y1")]
        boxes[row["file"], row["class"]].append(corners)
    kept = 0
    for (file, name), corners in boxes.items():
        photo = cv2.cvtColor(cv2.imread(str(table.parent / file)), cv2.COLOR_BGR2RGB)
        labels = label_photo(labeller, photo, corners, indices[name])
        if labels is not None:
            write(f"train-player-{Path(file).stem}", photo, labels)
            kept += 1
    print(f"{kept} of {len(boxes)} photos", flush=True)
    kept = 0
    for path in sorted(arguments.videos.glob("*.mp4")) if arguments.videos else []:
        index, prob = labeller.heard(read_soundtrack(path))
        for number, frame in enumerate(read_frames(path) if prob > HEARD else []):
            labels = labeller.label(labeller.visible(frame))
            if (labels == index).mean() > CLEAR:
                write(f"train-video-{path.stem}_{number}", frame, labels)
                kept += 1
    print(f"{kept} frames of videos")


if __name__ == "__main__":
    main()
