"""Where things lie in the folder of a project, and in the folder of one of its runs.

.shipworthy/                stages, locks, the ledger
runs/<id>/                  the record of a run, a copy of the project file and of the ledger
runs/<id>/candidates/<id>/  an artefact
"""

from __future__ import annotations

CACHE = ".shipworthy"
RUNS = "runs"
LEDGER = "ledger.jsonl"
PROJECT = "project.yaml"
CANDIDATES = "candidates"
TRIALS = "trials.json"
"""What a search tried, in its stage and in a run that stands on it."""
