"""A film of a simulation, rendered offscreen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.environment import Simulated

MAX_FRAMES_PER_SECOND = 30.0

_SUFFIXES = (".mp4", ".gif", ".mkv", ".mov", ".avi", ".webm")


class Film:
    """Writes frames of an ``rgb_array`` simulation to a video file, at the speed of reality.

    Args:
        path: the file; its suffix chooses the format (.mp4, .gif).
        period: control period, s.

    Raises:
        PolicyError: imageio is missing, or the file cannot be written.
    """

    def __init__(self, path: str, period: float) -> None:
        try:
            import imageio.v2 as imageio  # noqa: PLC0415 only for films
        except ImportError as error:
            remedy = "pip install 'imageio[ffmpeg]'"
            raise PolicyError.at("", "video", "imageio is not installed", remedy) from error
        if Path(path).suffix.lower() not in _SUFFIXES:
            wrong = f"{Path(path).name!r} does not say by its end what film it is to be"
            raise PolicyError.at(path, "video", wrong, f"end it on {', '.join(_SUFFIXES)}")
        if not Path(path).absolute().parent.is_dir():
            raise PolicyError.at(path, "video", "its folder does not exist", "create it first")
        self._every = max(1, round(1.0 / (MAX_FRAMES_PER_SECOND * period)))
        self._steps = 0
        self._path = Path(path)
        # The suffix says the format; what is being written must not look like a whole film.
        self._part = self._path.with_name(f".{self._path.name}")
        try:
            self._writer: Any = imageio.get_writer(self._part, fps=1.0 / (period * self._every))
        except (OSError, ValueError, ImportError) as error:
            reason = " ".join(str(error).split())
            raise PolicyError.at(path, "video", reason, "give a .mp4 file") from error

    def add(self, simulation: Simulated) -> None:
        """Add the frame of this control step, if it is one that the film needs.

        Raises:
            PolicyError: the frame cannot be rendered or written; the text says why.
        """
        self._steps += 1
        if self._steps % self._every:
            return
        try:
            frame = simulation.render()
            if frame is None:
                raise ValueError("the simulation is not an offscreen one")  # noqa: TRY301
            self._writer.append_data(frame)
        except Exception as error:  # each GL library fails in its own way
            reason = f"{type(error).__name__}: {error}"
            remedy = "check that EGL works (Debian: libegl1 libgl1-mesa-dri)"
            raise PolicyError.at("", "video", " ".join(reason.split()), remedy) from error

    def close(self) -> None:
        """Finish the file, and put it in place if it has a frame."""
        self._writer.close()
        if self._part.exists():
            self._part.replace(self._path)
