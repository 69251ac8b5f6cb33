"""Answers of model folders, as somebody gets them who has never heard of shipworthy.

Run as a script: the folder of the models and the file of the texts are its arguments; it prints
logarithms of class probabilities by folder. decision.json is applied as docs/compression.md says.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def answers(folder, texts):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    told = json.loads((folder / "runtime.json").read_text())
    inputs = [
        tokenizer(text, truncation=True, max_length=told["max_length"], return_tensors="np")
        for text in texts
    ]
    if (folder / "model.onnx").is_file():
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(folder / "model.onnx", options)
        logits = [
            session.run(
                None, {name: one[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
            )[0][0]
            for one in inputs
        ]
        classes = told["classes"]
    else:
        half = json.loads((folder / "config.json").read_text()).get("dtype") == "bfloat16"
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=torch.bfloat16 if half else torch.float32
        ).eval()
        classes = [model.config.id2label[k] for k in range(model.config.num_labels)]
        assert classes == told["classes"]
        with torch.inference_mode():
            logits = [
                model(
                    input_ids=torch.tensor(one["input_ids"]),
                    attention_mask=torch.tensor(one["attention_mask"]),
                ).logits[0].float().numpy()
                for one in inputs
            ]  # fmt: skip
    found = np.array(logits, np.float64)
    decision = folder / "decision.json"
    if decision.is_file():
        offsets = json.loads(decision.read_text())["offsets"]
        found += np.array([offsets[name] for name in classes])
    found -= found.max(axis=1, keepdims=True)
    return found - np.log(np.exp(found).sum(axis=1, keepdims=True))


if __name__ == "__main__":
    torch.set_num_threads(1)
    assert "shipworthy" not in sys.modules
    asked = json.loads(Path(sys.argv[2]).read_text())
    told = {
        one.name: answers(one / "model", asked).tolist()
        for one in sorted(Path(sys.argv[1]).iterdir())
    }
    print(json.dumps(told))
