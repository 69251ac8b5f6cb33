"""A GGUF file as a Hugging Face folder of fp32 weights, so that it can be fine-tuned.

llama.cpp's files hold weights of few bits. They are widened to what they stand for: the model
answers alike, and what the few bits lost stays lost.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shipworthy.core import locale
from shipworthy.core.errors import ModelError
from shipworthy.core.files import write_atomically
from shipworthy.core.folders import make_once
from shipworthy.model.checkpoint import CONFIG
from shipworthy.model.pretrained import quiet_transformers

ORIGIN = "gguf.json"
"""What the weights were before they were widened; no part of the model."""


def widen_gguf(file: Path, target: Path) -> Path:
    """Return the folder with the weights of a GGUF file; a second call finds it made.

    Raises ModelError where the file is damaged or of an unknown kind, or a library is absent.
    """
    return make_once(target, lambda folder: _write(file, folder), proof=ORIGIN)


def bits_of(folder: Path | str) -> str:
    """Return which weights of few bits a folder was widened from, as `Q4_1`; "" for none."""
    file = Path(folder) / ORIGIN
    return str(json.loads(file.read_text(encoding="utf-8"))["weights"]) if file.is_file() else ""


def _write(file: Path, target: Path) -> None:
    import torch

    try:
        import accelerate  # noqa: F401  # transformers wants it for GGUF
        from gguf import GGUFReader
    except ImportError as error:
        raise ModelError(
            locale.text("error.gguf.absent", name=error.name),
            folder=file.parent,
            fix=locale.text("error.gguf.absent.fix"),
        ) from error
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True}
    with quiet_transformers(file):
        tokenizer = AutoTokenizer.from_pretrained(file.parent, **where)
        packed = AutoModelForCausalLM.from_pretrained(file.parent, dtype=torch.float32, **where)
        config = packed.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        # A name of a folder elsewhere says nothing here.
        config._name_or_path = ""
        plain = type(packed)(config)
        plain.load_state_dict(packed.state_dict())
        plain.tie_weights()
        plain.save_pretrained(target)
        tokenizer.save_pretrained(target)
        kinds = {str(t.tensor_type.name) for t in GGUFReader(file).tensors if len(t.shape) > 1}
    if not (target / CONFIG).is_file():
        raise ModelError(locale.text("error.gguf.nothing"), folder=file)
    few = sorted(kinds - {"F32", "F16", "BF16"})
    write_atomically(target / ORIGIN, json.dumps({"file": file.name, "weights": ", ".join(few)}))
