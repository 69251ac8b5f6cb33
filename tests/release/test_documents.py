"""The `--json` document: its names are an interface, unknown is null."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import sample

from shipworthy.release.documents import to_json

CASES = [
    sample.shipping, sample.holding, sample.undecided, sample.without_groups, sample.hostile,
    sample.advisory_and_waived,
]  # fmt: skip


def document(judgement, **more):
    values = {"report": Path("runs/1/report.html"), "folder": Path("runs/1"), "exit_code": 0}
    return to_json(judgement, **{**values, **more})


@pytest.mark.parametrize("case", CASES)
def test_the_document_is_plain_json_and_holds_every_decision(case):
    judgement = case()
    found = json.loads(json.dumps(document(judgement), allow_nan=False, ensure_ascii=False))
    assert {
        "run", "folder", "verdict", "exit_code", "candidates", "limits", "report",
        "cached_stages", "seconds",
    } <= set(found)  # fmt: skip
    assert found["verdict"] == judgement.answer.value
    assert len(found["limits"]) == len(judgement.decisions)
    for told, made in zip(found["limits"], judgement.decisions, strict=True):
        assert told["candidate"] == made.candidate
        assert told["slice"] == json.loads(made.slice)
        assert told["decision"] == made.decision.value
        assert told["value"] == (None if made.value != made.value else made.value)
        assert told["bound"] == made.bound
        assert set(told) >= {
            "measure", "slice", "candidate", "value", "low", "high", "bound", "decision",
            "reason", "n_needed", "owner",
        }  # fmt: skip


def test_candidates_carry_verdict_nomination_and_costs():
    judgement = sample.shipping(nominated=(sample.made("bf16 weights").id,))
    found = {c["name"]: c for c in document(judgement)["candidates"]}
    one = found["bf16 weights"]
    assert (one["id"], one["lever"]) == (sample.made("bf16 weights").id, "quantize")
    assert one["verdict"] == "ship" and one["nominated"] is True
    assert one["size_mb"] == 45.5 and one["turned_wrong"] == 1 and one["turned_right"] == 0
    assert one["latency_p95_ms"] == {"value": 7.0, "low": 7.0 * 0.97, "high": 7.0 * 1.05}
    assert found["OpenVINO bf16"]["nominated"] is False
    assert found["pruned 30 %"]["size_mb"] is None
    assert found["pruned 30 %"]["latency_p95_ms"] is None
    assert document(judgement)["parent"]["size_mb"] == 90.9


def test_next_steps_carry_their_key_and_chances():
    found = document(sample.undecided(), exit_code=4)
    assert found["exit_code"] == 4
    assert found["next"][0]["text"] == "about 770 more movie rows"
    assert found["next"][0]["key"] == "report.why.short.more_group"
    assert found["next"][0]["arguments"] == {"rows": "770", "group": "movie"}
    assert found["next"][0]["probability"] == 0.83


def test_nothing_written_is_null_and_infinities_are_too():
    judgement = sample.without_groups()
    open_end = replace(judgement.decisions[0], high=float("inf"))
    found = document(
        replace(judgement, decisions=(open_end,)), report=None, folder=None, exit_code=0
    )
    assert found["report"] is None and found["folder"] is None
    assert found["limits"][0]["high"] is None
