#!/bin/sh
# Rewrites requirements.lock (what runs), requirements-dev.lock (what checks) and requirements-runtimes.lock
# (llama.cpp and bitsandbytes), hashed and without torch: a hashed torch line would fetch a CUDA wheel of several
# hundred MB where a CPU wheel lies at hand.
set -eu
cd "$(dirname "$0")/.."
torch="torch==2.13.0"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "$torch" > "$work/torch.txt"
compile() { .venv/bin/pip-compile -q --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url --no-emit-find-links --no-header "$@" pyproject.toml; }
# Without notes of which file on this machine bound a version, too.
without_torch() { awk '/#   -c / {next} /^torch==/ {skip = 1; next} skip && /^[ \t]/ {next} {skip = 0; print}' "$1"; }
compile -c "$work/torch.txt" -o "$work/run.lock"
without_torch "$work/run.lock" > requirements.lock
compile --extra dev --extra lm --extra ray --extra tabular -c "$work/run.lock" -o "$work/dev.lock"
without_torch "$work/dev.lock" > requirements-dev.lock
compile --extra dev --extra lm --extra ray --extra tabular --extra gguf --extra qlora -c "$work/dev.lock" \
  -o "$work/runtimes.lock"
# Of the packages, which begin a line with name==version, those that the other lock has are left out.
awk 'NR == FNR {if (/^[a-z]/) known[$1]; next} !/^[a-z ]/ {next} /#   -c / {next} /^[a-z]/ {skip = $1 in known} !skip' \
  "$work/dev.lock" "$work/runtimes.lock" > requirements-runtimes.lock
