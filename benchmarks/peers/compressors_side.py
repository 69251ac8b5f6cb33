"""One recipe of another tool, made and answered as its documentation says; run by search.py.

Its argument is a JSON object: recipe (a name in `RECIPES`), parent (folder of Hugging Face, fp32),
graph (the same model in ONNX, fp32), calibration and texts (JSON files with lists of texts), work
(an empty folder), max_length, threads. The first line that it prints says the versions, and the
bytes and the seconds of what was made, or why it could not be. Then each line on stdin is answered
by one:

    answers       class probabilities of all texts, each by itself, in `probabilities.npy` in work
    time SEED     p95 of the parent in eager PyTorch fp32 and of the recipe, in turn, milliseconds

Sizes are of what holds weights: a graph with its data, OpenVINO's xml and bin, a saved state_dict.
Configuration and tokenizer ship with each alike and are not counted. What is answered was read back
from these files. All, the parent too, cut texts into tokens with the same `tokenizers.Tokenizer`.
"""

import json
import logging
import os
import platform
import sys
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForSequenceClassification

Array = np.ndarray[Any, np.dtype[Any]]
Answer = Callable[[Array], Array]
"""Of the token ids of one text, shape (1, n), its logits, shape (1, k)."""
TEXTS, ROUNDS, WARM_UP, TURN = 64, 3, 24, 16
"""As in shipworthy.measure.quick_speed."""


class Peer:
    """The parent, its texts, and a folder to make something in."""

    def __init__(self, given: dict[str, Any]) -> None:
        """Load what all recipes need."""
        self.parent, self.graph = Path(given["parent"]), Path(given["graph"])
        self.work, self.threads = Path(given["work"]), int(given["threads"])
        self.texts = json.loads(Path(given["texts"]).read_text("utf-8"))
        self.tokenizer = Tokenizer.from_file(str(self.parent / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(given["max_length"])
        texts = json.loads(Path(given["calibration"]).read_text("utf-8"))
        self.calibration = [self.ids(text) for text in texts]
        self.module = self.load()

    def ids(self, text: str) -> Array:
        """Token ids of a text, shape (1, n)."""
        return np.array([self.tokenizer.encode(text).ids], np.int64)

    def load(self) -> Any:
        """Return the parent as transformers loads it."""
        return AutoModelForSequenceClassification.from_pretrained(
            self.parent, dtype=torch.float32
        ).eval()


def eager(module: Any) -> Answer:
    """Answer with a module of PyTorch."""

    def answer(ids: Array) -> Array:
        with torch.inference_mode():
            tokens = torch.from_numpy(ids)
            logits = module(input_ids=tokens, attention_mask=torch.ones_like(tokens)).logits
        told: Array = logits.float().numpy()
        return told

    return answer


def fed(ids: Array) -> dict[str, Array]:
    """Return the inputs of a graph."""
    return {"input_ids": ids, "attention_mask": np.ones_like(ids)}


# -- ONNX Runtime --------------------------------------------------------------------------------


def by_onnxruntime(peer: Peer, file: Path) -> tuple[Answer, list[Path]]:
    """Serve a graph with the default session, of so many threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = peer.threads
    # Threads that spin after an answer would slow the parent, whose turn is next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return lambda ids: session.run(None, fed(ids))[0], list(file.parent.glob(f"{file.name}*"))


def prepared(peer: Peer) -> Path:
    """Infer shapes and optimise, which is advised before quantising."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    # Symbolic inference ends with "Incomplete symbolic shape inference" for graphs of the exporter
    # of torch, which carry their shapes already; the guide then leaves it out.
    quant_pre_process(peer.graph, peer.work / "prepared.onnx", skip_symbolic_shape=True)
    return peer.work / "prepared.onnx"


def optimised(peer: Peer) -> Path:
    """Fuse what the optimiser for transformers fuses, which is advised for them."""
    from onnxruntime.transformers.optimizer import optimize_model

    config = json.loads((peer.parent / "config.json").read_text("utf-8"))
    model = optimize_model(
        str(peer.graph), model_type="bert", num_heads=config["num_attention_heads"],
        hidden_size=config["hidden_size"],
    )  # fmt: skip
    model.save_model_to_file(str(peer.work / "optimised.onnx"))
    return peer.work / "optimised.onnx"


def dynamic(peer: Peer, graph: Path, **options: Any) -> tuple[Answer, list[Path]]:
    """Quantise weights; ranges of activations are measured for each input."""
    from onnxruntime.quantization import quantize_dynamic

    made = peer.work / "quantised.onnx"
    quantize_dynamic(graph, made, **options)
    return by_onnxruntime(peer, made)


def dynamic_unsigned(peer: Peer) -> tuple[Answer, list[Path]]:
    """Do the same with unsigned weights."""
    from onnxruntime.quantization import QuantType

    return dynamic(peer, prepared(peer), weight_type=QuantType.QUInt8)


def static(peer: Peer, *, unsigned: bool) -> tuple[Answer, list[Path]]:
    """Quantise weights and activations by least and largest values over the calibration texts."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left: Iterator[Array] = iter(peer.calibration)

        def get_next(self) -> dict[str, Array] | None:
            ids = next(self.left, None)
            return None if ids is None else fed(ids)

    made = peer.work / "quantised.onnx"
    options = {"activation_type": QuantType.QUInt8} if unsigned else {}
    quantize_static(prepared(peer), made, Reader(), **options)
    return by_onnxruntime(peer, made)


# -- NNCF ----------------------------------------------------------------------------------------


def as_openvino(peer: Peer) -> Any:
    """Convert the PyTorch model, as NNCF's guide does."""
    import openvino

    example = {name: torch.from_numpy(one) for name, one in fed(peer.calibration[0]).items()}
    return openvino.convert_model(peer.module, example_input=example)


def by_openvino(peer: Peer, model: Any) -> tuple[Answer, list[Path]]:
    """Save, and serve as OpenVINO does on a processor by default, with so many threads."""
    import openvino

    made = peer.work / "model.xml"
    openvino.save_model(model, made)
    core = openvino.Core()
    compiled = core.compile_model(made, "CPU", {"INFERENCE_NUM_THREADS": peer.threads})

    def answer(ids: Array) -> Array:
        told: Array = compiled(fed(ids))[0]
        return told

    return answer, [made, made.with_suffix(".bin")]


def nncf_quantize(peer: Peer) -> tuple[Answer, list[Path]]:
    """Quantise weights and activations after training, with what is there for transformers."""
    import nncf

    data, seen = nncf.Dataset(peer.calibration, fed), len(peer.calibration)
    model = nncf.quantize(
        as_openvino(peer), data, subset_size=seen, model_type=nncf.ModelType.TRANSFORMER
    )
    return by_openvino(peer, model)


def nncf_quantize_graph(peer: Peer) -> tuple[Answer, list[Path]]:
    """Do the same with the graph of ONNX, and serve it with ONNX Runtime."""
    import nncf
    import onnx

    data, seen = nncf.Dataset(peer.calibration, fed), len(peer.calibration)
    graph = onnx.load(peer.graph)
    model = nncf.quantize(graph, data, subset_size=seen, model_type=nncf.ModelType.TRANSFORMER)
    onnx.save(model, peer.work / "quantised.onnx")
    return by_onnxruntime(peer, peer.work / "quantised.onnx")


def nncf_compress_weights(peer: Peer) -> tuple[Answer, list[Path]]:
    """Store weights in 8 bits, asymmetric; activations stay as they are."""
    import nncf

    return by_openvino(peer, nncf.compress_weights(as_openvino(peer)))


# -- torchao -------------------------------------------------------------------------------------


def by_torchao(peer: Peer, config: Any, *, compiled: bool) -> tuple[Answer, list[Path]]:
    """Quantise the linear layers; save and read the state_dict back, as torchao's guide does."""
    from torchao.quantization import quantize_

    module = peer.load()
    quantize_(module, config)
    made = peer.work / "model.pt"
    torch.save(module.state_dict(), made)
    served = peer.load()
    served.load_state_dict(torch.load(made, weights_only=True), assign=True)
    if compiled:
        # Texts differ in length, so that one program is to serve all.
        served = torch.compile(served, mode="max-autotune", dynamic=True)
    return eager(served), [made]


def ao_dynamic(peer: Peer, *, compiled: bool) -> tuple[Answer, list[Path]]:
    """8-bit weights by channel, and activations by token, measured for each input."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig

    return by_torchao(peer, Int8DynamicActivationInt8WeightConfig(), compiled=compiled)


def ao_weights(peer: Peer, *, compiled: bool) -> tuple[Answer, list[Path]]:
    """8-bit weights by channel; activations stay as they are."""
    from torchao.quantization import Int8WeightOnlyConfig

    return by_torchao(peer, Int8WeightOnlyConfig(), compiled=compiled)


def ao_four_bits(peer: Peer) -> tuple[Answer, list[Path]]:
    """4-bit weights in groups of 128."""
    from torchao.quantization import Int4WeightOnlyConfig

    return by_torchao(peer, Int4WeightOnlyConfig(), compiled=True)


RECIPES: dict[str, Callable[[Peer], tuple[Answer, list[Path]]]] = {
    "onnxruntime: quantize_dynamic": lambda peer: dynamic(peer, peer.graph),
    "onnxruntime: quant_pre_process, quantize_dynamic": lambda peer: dynamic(peer, prepared(peer)),
    "onnxruntime: quant_pre_process, quantize_dynamic QUInt8": dynamic_unsigned,
    "onnxruntime: optimize_model, quantize_dynamic": lambda peer: dynamic(peer, optimised(peer)),
    "onnxruntime: quant_pre_process, quantize_static": lambda peer: static(peer, unsigned=False),
    "onnxruntime: quant_pre_process, quantize_static QUInt8": lambda peer: static(
        peer, unsigned=True
    ),
    "nncf: quantize, in OpenVINO": nncf_quantize,
    "nncf: quantize, in ONNX Runtime": nncf_quantize_graph,
    "nncf: compress_weights, in OpenVINO": nncf_compress_weights,
    "torchao: int8 dynamic": lambda peer: ao_dynamic(peer, compiled=False),
    "torchao: int8 dynamic, compiled": lambda peer: ao_dynamic(peer, compiled=True),
    "torchao: int8 weights": lambda peer: ao_weights(peer, compiled=False),
    "torchao: int8 weights, compiled": lambda peer: ao_weights(peer, compiled=True),
    "torchao: int4 weights, compiled": ao_four_bits,
}
PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnx"),
    "nncf": ("nncf", "openvino", "onnxruntime"),
    "torchao": ("torchao", "torch"),
}


# -- asking and timing ---------------------------------------------------------------------------


def probabilities(peer: Peer, answer: Answer) -> Array:
    """Class probabilities of all texts, one after the other, shape (n, k)."""
    logits = np.concatenate([answer(peer.ids(text)) for text in peer.texts]).astype(np.float64)
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    told: Array = raised / raised.sum(axis=1, keepdims=True)
    return told


def p95_in_turn(peer: Peer, answer: Answer, seed: int) -> tuple[float, float]:
    """p95 of the parent and of the recipe over the same texts, one at a time, from text on, ms.

    The quickest of several rounds counts for each text; sides take turns of some requests.
    """
    generator = np.random.default_rng([seed, len(peer.texts)])
    places: list[int] = []
    while len(places) < TEXTS:
        places += generator.permutation(len(peer.texts))[: TEXTS - len(places)].tolist()
    drawn = [peer.texts[k] for k in places]
    sides = (eager(peer.module), answer)
    for side in sides:
        took(peer, side, drawn[:WARM_UP])
    least = np.full((2, TEXTS), np.iinfo(np.int64).max, np.int64)
    turns = 0
    for _ in range(ROUNDS):
        for start in range(0, TEXTS, TURN):
            for place in (0, 1) if turns % 2 == 0 else (1, 0):
                part = slice(start, start + TURN)
                least[place, part] = np.minimum(
                    least[place, part], took(peer, sides[place], drawn[part])
                )
            turns += 1
    rank = -(-95 * (TEXTS + 1) // 100) - 1
    parent, own = (float(np.sort(one)[rank]) / 1e6 for one in least)
    return parent, own


def took(peer: Peer, answer: Answer, texts: list[str]) -> Array:
    """Nanoseconds of each text."""
    found = []
    for text in texts:
        begun = perf_counter_ns()
        answer(peer.ids(text)).argmax()
        found.append(perf_counter_ns() - begun)
    return np.array(found, np.int64)


def main() -> None:
    """Make the recipe, then answer lines until told to end."""
    given = json.loads(sys.argv[1])
    # What the tools print is no answer.
    answers, sys.stdout = sys.stdout, sys.stderr
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(given["threads"])
    # Some tools leave files of their own in the folder that they are called from.
    os.chdir(given["work"])
    tool = given["recipe"].split(":")[0]
    about: dict[str, Any] = {"python": platform.python_version()}
    peer, begun, answer = Peer(given), perf_counter(), None
    try:
        about["versions"] = {name: version(name) for name in PACKAGES[tool]}
        answer, files = RECIPES[given["recipe"]](peer)
        answer(peer.calibration[0])
        about["bytes"] = sum(file.stat().st_size for file in files)
        about["seconds"] = perf_counter() - begun
    except Exception as error:  # what a tool cannot do here is a finding, in its own words
        said = " ".join(str(error).split())
        about["failed"] = f"{type(error).__name__}: {said}"[:600]
    print(json.dumps(about), file=answers, flush=True)
    while answer is not None and (line := sys.stdin.readline().split()):
        if line[0] == "answers":
            np.save(peer.work / "probabilities.npy", probabilities(peer, answer))
            told: dict[str, Any] = {"file": str(peer.work / "probabilities.npy")}
        elif line[0] == "time":
            parent, own = p95_in_turn(peer, answer, int(line[1]))
            told = {"parent_ms": parent, "own_ms": own}
        else:
            return
        print(json.dumps(told), file=answers, flush=True)


if __name__ == "__main__":
    main()
