#!/usr/bin/env bash
# Run the nodes' tests on ROS 2 Jazzy: its wheels on PyPI, for CPython 3.12. Makes .venv-jazzy once.
# Usage: scripts/test_jazzy.sh [PYTEST ARGUMENTS]; PYTHON312=... names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."

find_python() {
    local pyenv
    pyenv=$(ls -d "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.12.*/bin/python3.12 2>/dev/null | tail -1)
    command -v "${PYTHON312:-${pyenv:-python3.12}}" || {
        echo "test_jazzy: no Python 3.12; set PYTHON312 to one" >&2
        exit 2
    }
}

environment=.venv-jazzy
wheels=(rclpy rmw-fastrtps-cpp builtin-interfaces diagnostic-msgs geometry-msgs lifecycle-msgs
    nav-msgs rcl-interfaces rosgraph-msgs sensor-msgs std-msgs std-srvs)
stamp=$environment/.stamp
wanted=$(cat "$0" setup.py | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    python=$(find_python)
    echo "test_jazzy: making $environment with $python" >&2
    "$python" -m venv "$environment"
    "$environment/bin/pip" install -q --upgrade pip setuptools wheel
    # numpy 1.26 is what Ubuntu 24.04 has and what Jazzy's rclpy was built against.
    "$environment/bin/pip" install -q "numpy==1.26.4" "${wheels[@]/#/ros-jazzy-}"
    "$environment/bin/pip" install -q "numpy==1.26.4" imageio -e ".[sim,latency,dev]"
    echo "$wanted" > "$stamp"
fi

# What a robot runs: nodes, lock-step against the offline episode, faults in what others send.
tests=("$@")
[ $# -gt 0 ] || tests=(test/nodes/test_lockstep.py test/nodes/test_lifecycle.py
    test/nodes/test_refusals.py test/nodes/test_robot.py test/nodes/test_robot_inputs.py
    test/nodes/test_robot_simulation.py test/nodes/test_neighbours.py test/nodes/test_simulator.py
    test/nodes/test_sim_time.py test/nodes/test_modes.py test/nodes/test_safety.py
    test/nodes/test_server.py test/nodes/rcl)
OMP_NUM_THREADS=1 exec "$environment/bin/python" -m pytest "${tests[@]}"
