"""MUJOCO_GL names what is not there: only rendering minds."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.sim.display import prepare_rendering

STEP = """
from qpolicy_ros.sim import Simulation
simulation = Simulation("hopper")
simulation.reset(0)
print(simulation.step(simulation.contract.safe)[1])
"""


@pytest.mark.parametrize("name", ["garbage", "osmesa", "egl"])
def test_what_renders_nothing_does_not_mind(name):
    # PYOPENGL_PLATFORM makes EGL's import fail where it is installed.
    environment = {**os.environ, "MUJOCO_GL": name, "PYOPENGL_PLATFORM": "osmesa"}
    done = subprocess.run(
        [sys.executable, "-c", STEP], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout)


def test_rendering_with_what_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "garbage")
    with pytest.raises(InputError, match=r"^MUJOCO_GL: 'garbage' can render nothing; give one of"):
        prepare_rendering()


RENDER = """
import sys
import mujoco
from qpolicy_ros.sim import open_simulation
simulation = open_simulation(sys.argv[1], "rgb_array", 5)
simulation.reset(0)
print(simulation.render().max())
"""
ARM = """
<mujoco><worldbody><light pos="0 -1 2"/><body pos="0 0 1"><joint name="a" axis="0 1 0"/>
  <geom type="capsule" fromto="0 0 0 0 0 -.3" size=".05"/></body></worldbody>
  <actuator><motor name="a" joint="a" ctrlrange="-1 1"/></actuator></mujoco>
"""


@pytest.mark.parametrize("what", ["hopper", "arm.xml"])
def test_rendering_is_chosen_after_the_import(tmp_path, what):
    """Somebody has imported MuJoCo already, without a display and with nothing set."""
    (tmp_path / "arm.xml").write_text(ARM)
    environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "DISPLAY")}
    command = [sys.executable, "-c", RENDER, what]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0
