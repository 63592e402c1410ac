#!/usr/bin/env bash
# Coverage of what runs on the robot and of the latency analysis, by their own tests.
# Fails below 95 % of the branches, or of the statements.
set -euo pipefail
cd "$(dirname "$0")/.."
rooms=(policy backends latency)
mkdir -p out
.venv/bin/pytest "${rooms[@]/#/test/}" test/fpga/driver "${rooms[@]/#/--cov=qpolicy_ros/}" \
    --cov-branch --cov-report=term-missing:skip-covered --cov-report=json:out/coverage.json "$@"
exec .venv/bin/python - <<'PYTHON'
import json, sys

totals = json.load(open("out/coverage.json"))["totals"]
shares = {}
for kind, of in (("statements", "num_statements"), ("branches", "num_branches")):
    covered = totals["covered_branches" if kind == "branches" else "covered_lines"]
    shares[kind] = 100 * covered / totals[of]
    print(f"{kind}: {covered} of {totals[of]}, {shares[kind]:.2f} %")
sys.exit(any(share < 95 for share in shares.values()))
PYTHON
