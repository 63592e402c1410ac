"""MuJoCo, imported so that a wrong ``MUJOCO_GL`` stops nothing but rendering.

``import mujoco`` fails where ``MUJOCO_GL`` names what is not there, and reads it once, at import.
Most work renders nothing. So every module of this package imports MuJoCo from here, without any
OpenGL, and :func:`prepare_rendering` chooses the library when frames are wanted.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TYPE_CHECKING, Any

from qpolicy_ros.policy import PolicyError

__all__ = ["mujoco", "prepare_rendering"]

_VARIABLE = "MUJOCO_GL"
_LIBRARIES = ("egl", "osmesa", "glfw")
_DEFAULTS = {"", "enable", "enabled", "on", "true", "1"}
_REPORTED = "The simulation is unstable"  # in the text of what `stability` reports


def _import_mujoco() -> Any:
    wish = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "disable"
    try:
        return importlib.import_module("mujoco")
    finally:
        del os.environ[_VARIABLE]
        if wish is not None:
            os.environ[_VARIABLE] = wish


def _on_warning(text: str) -> None:
    """Print a warning of MuJoCo's, which without this writes MUJOCO_LOG.TXT where it stands."""
    if _REPORTED not in text:
        sys.stderr.write(f"mujoco: warning: {text}\n")


if TYPE_CHECKING:  # at run time it is imported without OpenGL
    import mujoco
else:
    mujoco = _import_mujoco()
if mujoco.get_mju_user_warning() is None:
    mujoco.set_mju_user_warning(_on_warning)


def prepare_rendering() -> None:
    """Make frames possible: with ``MUJOCO_GL``, else EGL where there is no display.

    Raises:
        PolicyError: ``MUJOCO_GL`` names no library, or one that is not there.
    """
    wish = os.environ.get(_VARIABLE, "").lower().strip()
    headless = sys.platform == "linux" and not os.environ.get("DISPLAY")
    name = ("egl" if headless else "glfw") if wish in _DEFAULTS else wish
    if name not in _LIBRARIES:
        remedy = f"give one of {', '.join(_LIBRARIES)}, or unset it"
        raise PolicyError.at("", _VARIABLE, f"{wish!r} can render nothing", remedy)
    try:
        library = importlib.import_module(f"mujoco.{name}")
    except Exception as error:  # each of them fails in its own way
        reason = f"{name!r} is not there ({type(error).__name__}: {error})"
        remedy = "unset it or install the library (Debian: libegl1 libgl1-mesa-dri for egl)"
        raise PolicyError.at("", _VARIABLE, " ".join(reason.split()), remedy) from error
    os.environ[_VARIABLE] = name  # Gymnasium reads it
    _context_module().GLContext = library.GLContext


def _context_module() -> Any:
    try:
        return importlib.import_module("mujoco.rendering.classic.gl_context")
    except ImportError:  # before MuJoCo 4
        return importlib.import_module("mujoco.gl_context")
