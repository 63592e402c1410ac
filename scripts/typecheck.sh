#!/usr/bin/env bash
# Runs mypy. It finds packages by folder name, so the two folders that are imported under
# another name are shown to it through links of that name.
set -euo pipefail
cd "$(dirname "$0")/.."
links=.venv/typecheck
mkdir -p "$links"
ln -sfn ../../training "$links/qpolicy_training"
ln -sfn ../../fpga "$links/qpolicy_fpga"
export MYPYPATH=$links
.venv/bin/mypy "$@" -p qpolicy_ros -p qpolicy_training -p qpolicy_fpga
exec .venv/bin/mypy "$@" examples/*.py scripts/*.py
