#!/usr/bin/env bash
# Branch coverage of what runs on the robot and of the latency analysis, by their own tests.
# Fails below 95 %.
set -euo pipefail
cd "$(dirname "$0")/.."
rooms=()
tests=()
for room in policy backends latency; do
    [ -d "qpolicy_ros/$room" ] || continue
    rooms+=("--cov=qpolicy_ros/$room")
    tests+=("test/$room")
done
exec .venv/bin/pytest "${tests[@]}" test/fpga/driver "${rooms[@]}" --cov-branch \
    --cov-report=term-missing:skip-covered --cov-fail-under=95 "$@"
