"""The table of the gate's checks goes where the page has its markers, and nowhere else."""

import importlib.util
import json
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "gate_table.py"
spec = importlib.util.spec_from_file_location("gate_table", SCRIPT)
gate_table = importlib.util.module_from_spec(spec)
spec.loader.exec_module(gate_table)


def record(item, check, replicates, observed, *, mutant="", created="2026-01-01T00:00:00+00:00"):
    return {
        "item": item, "check": check, "mutant": mutant, "observed": observed, "allowed": 0.025,
        "accepted": 0.029, "replicates": replicates, "created": created,
    }  # fmt: skip


RECORDS = [
    record(4, "false hold", 500, 0.01),
    record(3, "false ship", 20_000, 0.0178),
    record(3, "false ship", 2000, 0.02, created="2026-02-01T00:00:00+00:00"),
    record(3, "few flips", 20_000, 0.0),
    record(3, "false ship", 20_000, 0.9, mutant="swapped sign"),
    record(6, "one share", 0, 0.0249),
]


def test_each_check_stands_once_with_its_largest_count():
    sound, broken = gate_table.table(RECORDS).split("\n\n")
    assert sound.splitlines()[2:] == [
        "| False ship | false ship | 0.0178 | 0.0250 | 0.0290 | 20,000 |",
        "|  | few flips | 0 | 0.0250 | 0.0290 | 20,000 |",
        "| False hold | false hold | 0.0100 | 0.0250 | 0.0290 | 500 |",
        "| One-sided errors | one share | 0.0249 | 0.0250 | 0.0290 | all outcomes |",
    ]
    assert broken.splitlines()[2:] == [
        "| False ship | swapped sign | false ship | 0.9000 | 0.0290 | 20,000 |"
    ]


def test_only_what_lies_between_the_markers_changes(tmp_path):
    page, records = tmp_path / "method.md", tmp_path / "gate.json"
    page.write_text("# Méthode\n<!-- gate:begin -->\nstale\n<!-- gate:end -->\nrest\n", "utf-8")
    records.write_text(json.dumps(RECORDS))
    arguments = ["--records", str(records), "--page", str(page)]
    for _ in range(2):
        assert gate_table.main(arguments) == 0
        text = page.read_text("utf-8")
        assert text.startswith("# Méthode\n<!-- gate:begin -->\n| subject")
        assert text.endswith("|\n<!-- gate:end -->\nrest\n")
        assert "stale" not in text


def test_missing_records_and_markers_are_told(tmp_path, capsys):
    page, records = tmp_path / "method.md", tmp_path / "gate.json"
    arguments = ["--records", str(records), "--page", str(page)]
    assert gate_table.main(arguments) == 2
    assert "gate.json is missing" in capsys.readouterr().err
    records.write_text(json.dumps(RECORDS))
    page.write_text("<!-- gate:begin --> no end")
    assert gate_table.main(arguments) == 2
    assert "no <!-- gate:begin -->" in capsys.readouterr().err
    assert page.read_text() == "<!-- gate:begin --> no end"
