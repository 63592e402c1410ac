"""Whether the physics blew up: MuJoCo warns of it, starts the state anew and goes on."""

from __future__ import annotations

from typing import Any

from qpolicy_ros.sim.channels import joint_names
from qpolicy_ros.sim.display import mujoco

_REMEDY = "use a smaller time step, softer gains or the integrator implicitfast"


def blow_up(model: Any, data: Any) -> str:
    """Say which joint blew up since the last reset of ``data``; empty if none did.

    Args:
        model: ``mujoco.MjModel``, or None for a simulation that is not MuJoCo.
        data: its ``mujoco.MjData``. MuJoCo resets it when it finds a bad value, and counts that.
    """
    if model is None:
        return ""
    numbers = data.warning.number.tolist()
    if not any(numbers):
        return ""
    kinds = mujoco.mjtWarning
    for kind, what, addresses in (
        (kinds.mjWARN_BADQPOS, "position", model.jnt_qposadr),
        (kinds.mjWARN_BADQVEL, "velocity", model.jnt_dofadr),
        (kinds.mjWARN_BADQACC, "acceleration", model.jnt_dofadr),
    ):
        if numbers[int(kind)]:
            index = int(data.warning[int(kind)].lastinfo)
            joint = max((i for i, at in enumerate(addresses) if at <= index), default=-1)
            name = joint_names(model)[joint] if joint >= 0 else f"degree of freedom {index}"
            wrong = f"the physics blew up: the {what} of joint {name!r} is not finite or too large"
            return f"{wrong}; {_REMEDY}"
    return ""
