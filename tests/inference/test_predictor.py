import itertools
import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
import torch

from avsegcli.cli.main import main
from avsegcli.config import load_config
from avsegcli.errors import AvsegError, ConfigError, WeightsError
from avsegcli.files.fetch import file_sha256
from avsegcli.files.weights import packaged_graph, packaged_weights
from avsegcli.inference.checkpoint import load_checkpoint, save_checkpoint
from avsegcli.inference.class_probs import class_probs
from avsegcli.inference.export_onnx import export_graph
from avsegcli.inference.fuse import fuse_for_inference
from avsegcli.inference.onnx_predictor import (  # asked to report to nobody
    OnnxPredictor,
    onnxruntime,
)
from avsegcli.inference.predictor import open_predictor
from avsegcli.inference.torch_predictor import Predictor
from avsegcli.model.qsd import build_qsd
from avsegcli.segment.segmenter import Segmenter

EXAMPLES = Path(__file__).parents[2] / "examples"
# Of a probability, between ONNX Runtime and PyTorch: folding rounds the weights once more.
TOLERANCE, MEAN_TOLERANCE = 0.03, 1e-3


def read_frames(name: str, count: int) -> list[np.ndarray]:
    with av.open(str(EXAMPLES / name)) as container:
        frames = container.decode(video=0)
        return [next(frames).to_ndarray(format="rgb24") for _ in range(count)]


@pytest.fixture(params=["onnx", "openvino"])
def runtime(request):
    """The predictor's class of each engine that runs graphs, if it is installed."""
    if request.param == "onnx":
        return OnnxPredictor
    pytest.importorskip("avsegcli.inference.openvino_predictor")
    return import_module("avsegcli.inference.openvino_predictor").OpenVinoPredictor


def noise(num_frames: int) -> np.ndarray:
    return np.random.default_rng(0).normal(-1, 2, (num_frames, 96, 64)).astype(np.float32)


def test_the_packaged_graph_was_made_of_the_packaged_checkpoint():
    session = onnxruntime.InferenceSession(str(packaged_graph()))
    said = json.loads(session.get_modelmeta().custom_metadata_map["avseg"])
    assert said["sha256"] == file_sha256(packaged_weights())
    assert tuple(said["classes"]) == load_checkpoint().classes


@pytest.mark.parametrize(
    "video", ["djembe_and_guitar.mp4", "dogs_and_blackbird.mp4", "blackbird_and_squirrel.mp4"]
)
def test_graphs_and_pytorch_agree_on_real_frames(video, runtime):
    predictors = runtime(packaged_graph()), Predictor(device="cpu")
    pairs = zip(*(Segmenter(p).segment(EXAMPLES / video, fps=1) for p in predictors), strict=True)
    first = [pair for pair in itertools.islice(pairs, 76) if pair[0].analysed]
    ours, theirs = (np.stack([pair[k].probs for pair in first]) for k in (0, 1))
    difference = np.abs(ours - theirs)
    # A token between two code vectors may take the other one, which moves a whole frame.
    assert np.median(difference.max(axis=(1, 2, 3))) < TOLERANCE
    assert difference.mean() < MEAN_TOLERANCE
    assert (ours.argmax(1) != theirs.argmax(1)).mean(axis=(1, 2)).max() < 0.01
    assert theirs[:, 1:].max() > 0.2  # else there was nothing to agree on


@pytest.mark.parametrize("size", [(1, 32, 64, 64), (4, 96, 224, 80), (2, 224, 32, 32)])
def test_a_graph_takes_any_number_of_frames_of_any_size(size):
    num_frames, height, width, real = size
    rng = torch.Generator().manual_seed(1)
    frames = torch.randn(1, num_frames, 3, height, width, generator=rng)
    log_mel = torch.randn(1, num_frames, 1, 96, 64, generator=rng)
    valid = torch.zeros(1, height, width, dtype=torch.bool)
    valid[:, :, :real] = True
    loaded = load_checkpoint()
    with torch.inference_mode():
        output = fuse_for_inference(loaded.model)(frames, log_mel, valid)
        config = loaded.config
        expected = class_probs(
            output, config.class_threshold, config.score_fusion, config.visible_share
        )[0]
    session = onnxruntime.InferenceSession(str(packaged_graph()))
    inputs = {"frames": frames.numpy(), "log_mel": log_mel.numpy(), "valid": valid.numpy()}
    assert np.abs(session.run(None, inputs)[0] - expected.numpy()).max() < TOLERANCE


def test_export_writes_the_same_graph_again_and_refuses_what_is_there(tmp_path, capsys):
    path = tmp_path / "model.onnx"
    assert main(["export", "-o", str(path)]) == 0
    frames = read_frames("djembe_and_guitar.mp4", 1)
    answers = [OnnxPredictor(p).predict(frames, noise(1)) for p in (path, packaged_graph())]
    assert np.abs(answers[0] - answers[1]).max() < 1e-5
    assert main(["export", "-o", str(path)]) == 1
    assert "exists already" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="does not end in"):
        export_graph(None, tmp_path / "model.pb")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_a_graph_beside_its_checkpoint_holds_no_second_copy_of_large_weights(tiny, tmp_path):
    torch.manual_seed(0)
    model = build_qsd(tiny, num_classes=2).eval().half().float()
    checkpoint = tmp_path / "small.safetensors"
    classes = ("background", "dog", "guitar")
    save_checkpoint(checkpoint, model, tiny, classes, name="small", half=True)
    graph = tmp_path / "small.onnx"
    export_graph(checkpoint, graph, external=True)
    stored = onnx.load(graph, load_external_data=False).graph.initializer
    elsewhere = [t for t in stored if t.data_location == onnx.TensorProto.EXTERNAL]
    assert {e.value for t in elsewhere for e in t.external_data if e.key == "location"} == {
        "small.safetensors"
    }
    assert len(elsewhere) > 50
    frames = [np.full((64, 64, 3), 90, np.uint8)]
    theirs = Predictor(checkpoint, "cpu").predict(frames, noise(1))
    assert np.abs(OnnxPredictor(graph).predict(frames, noise(1)) - theirs).max() < TOLERANCE
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ConfigError, match="cannot refer to weights in another folder"):
        export_graph(checkpoint, tmp_path / "elsewhere" / "small.onnx", external=True)


def test_export_refuses_a_folder_before_the_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("avsegcli.inference.export_onnx.load_checkpoint", None)
    (tmp_path / "d.onnx").mkdir()
    assert main(["export", "-o", str(tmp_path / "d.onnx"), "--force"]) == 1
    assert "d.onnx: it is a folder" in capsys.readouterr().err


def test_a_graph_is_asked_at_the_size_of_its_checkpoint(tmp_path):
    loaded = load_checkpoint()
    checkpoint, graph = tmp_path / "small.safetensors", tmp_path / "small.onnx"
    small = replace(loaded.config, size=64)
    save_checkpoint(checkpoint, loaded.model, small, loaded.classes, name="small")
    export_graph(checkpoint, graph)
    assert (OnnxPredictor(packaged_graph()).size, OnnxPredictor(graph).size) == (320, 64)
    frames = [np.zeros((100, 100, 3), np.uint8)]
    assert OnnxPredictor(graph).predict(frames, noise(1)).shape[2:] == (16, 16)


def test_a_graph_of_a_deformable_model_answers_as_it_does_at_any_size(tmp_path):
    sizes = {"hidden_dim": 16, "num_heads": 2, "ffn_dim": 16, "pyramid_dim": 16}
    parts = {"backbone": "efficientnet-lite0", "audio_encoder": "small", "attention": "deformable"}
    says = {"score_fusion": (1.0, 0.0, 0.0, 0.0, 0.0), "visible_share": 0.0}  # the decoder alone
    config = replace(load_config("lite").model, codebook_size=8, **parts, **says, **sizes)
    torch.manual_seed(0)
    model = build_qsd(config, num_classes=2).eval()
    torch.nn.init.zeros_(model.mask_decoder.classes[-1].bias)  # else hardly anything is painted
    checkpoint, graph = tmp_path / "small.safetensors", tmp_path / "small.onnx"
    save_checkpoint(checkpoint, model, config, ("background", "dog", "guitar"), name="small")
    export_graph(checkpoint, graph)
    predictors = Predictor(checkpoint, "cpu"), OnnxPredictor(graph)
    rng = np.random.default_rng(0)
    for num_frames, height, width in ((2, 120, 200), (3, 224, 224), (1, 200, 100)):
        frames = list(rng.integers(0, 255, (num_frames, height, width, 3), np.uint8))
        theirs, ours = (predictor.predict(frames, noise(num_frames)) for predictor in predictors)
        assert theirs[:, 1:].max() > 0.2
        assert np.abs(ours - theirs).max() < TOLERANCE


def test_on_a_cpu_the_packaged_model_runs_in_onnx_runtime():
    predictor = open_predictor(device="cpu")
    assert isinstance(predictor, OnnxPredictor)
    assert "ONNX Runtime" in predictor.device_name
    assert isinstance(open_predictor(device="cpu", engine="torch"), Predictor)


def test_openvino_runs_where_it_is_installed():
    pytest.importorskip("avsegcli.inference.openvino_predictor")
    assert "OpenVINO" in open_predictor(device="cpu", engine="openvino").device_name


def test_threads_may_ask_one_predictor(runtime):
    predictor = runtime(packaged_graph())
    frames = [np.full((32, 48, 3), shade, np.uint8) for shade in (30, 220)]
    alone = [predictor.predict([frame], noise(1)) for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda i: predictor.predict([frames[i % 2]], noise(1)), range(40)))
    for index, answer in enumerate(answers):
        np.testing.assert_allclose(answer, alone[index % 2], atol=1e-4)


def test_without_openvino_it_says_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "avsegcli.inference.openvino_predictor", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(AvsegError, match="OpenVINO is not installed") as caught:
        open_predictor(engine="openvino")
    assert caught.value.exit_code == 1
    assert caught.value.hint.startswith('pip install "openvino>=')


def test_without_onnx_export_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "-o", str(tmp_path / "model.onnx")]) == 1
    assert capsys.readouterr().err.splitlines() == [
        "avseg: the package onnx is missing",
        '       pip install "onnx>=1.17"',
    ]


def test_checkpoints_run_in_pytorch_and_graphs_in_onnx_runtime():
    assert isinstance(open_predictor(packaged_weights(), "cpu"), Predictor)
    assert isinstance(open_predictor(packaged_graph()), OnnxPredictor)
    for weights, device, engine in (
        (packaged_weights(), "cpu", "onnx"),
        (packaged_graph(), "cpu", "torch"),
        (None, "cuda", "onnx"),
    ):
        with pytest.raises(ConfigError):
            open_predictor(weights, device, engine)


def test_what_is_no_graph_of_avseg_is_refused(tmp_path, runtime):
    with pytest.raises(WeightsError, match="no weights at"):
        runtime(tmp_path / "missing.onnx")
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(WeightsError, match="cannot read"):
        runtime(tmp_path / "text.onnx")
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([node], "other", values[:1], values[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), tmp_path / "x.onnx")
    with pytest.raises(WeightsError, match="was not made by avseg export"):
        runtime(tmp_path / "x.onnx")


def test_segment_paints_without_importing_torch(tmp_path):
    if shutil.which("nvidia-smi"):
        pytest.skip("with a GPU, torch is the engine")
    program = (
        "import sys\nfrom avsegcli.cli.main import main\n"
        f"code = main(['segment', {str(EXAMPLES / 'dogs_and_blackbird.mp4')!r},"
        f" '-o', {str(tmp_path / 'out.mp4')!r}, '--fps', '1'])\n"
        "print('torch' in sys.modules, code)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False 0", done.stderr
    assert "ONNX Runtime" in done.stderr


def test_openvino_reports_to_nobody():
    pytest.importorskip("avsegcli.inference.openvino_predictor")
    module = "avsegcli.inference.openvino_predictor"
    script = f"import sys, {module}; print(sys.modules['openvino_telemetry'])"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "None"


def test_onnx_runtime_reports_to_nobody(tmp_path):
    command = [sys.executable, "-c", "import avsegcli.inference.onnx_predictor"]
    ran = subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
