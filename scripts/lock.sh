#!/bin/sh
# Rewrites requirements.lock (what runs) and requirements-dev.lock (what checks), hashed and without torch:
# a hashed torch line would fetch a CUDA wheel of several hundred MB where a CPU wheel lies at hand.
set -eu
cd "$(dirname "$0")/.."
torch="torch==2.13.0"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "$torch" > "$work/torch.txt"
compile() { .venv/bin/pip-compile -q --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header "$@" pyproject.toml; }
without_torch() { awk '/^torch==/ {skip = 1; next} skip && /^[ \t]/ {next} {skip = 0; print}' "$1"; }
compile -c "$work/torch.txt" -o "$work/run.lock"
without_torch "$work/run.lock" > requirements.lock
compile --extra dev --extra lm -c "$work/run.lock" -o "$work/dev.lock"
without_torch "$work/dev.lock" > requirements-dev.lock
