"""A short film of played actions, rendered offscreen: ``python -m qpolicy_ros.demo.film JOB``.

A process of its own: a broken OpenGL driver may end the process that loads it, and two films are
rendered at once on two cores.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.common.errors import InputError
from qpolicy_ros.common.files import write_atomically
from qpolicy_ros.common.plots import colour
from qpolicy_ros.harness.processes import Child
from qpolicy_ros.sim import Simulation
from qpolicy_ros.sim.display import mujoco, prepare_rendering
from qpolicy_ros.sim.session import Session

_SIZE = 480  # pixels, both ways
_FRAMES_PER_SECOND = 25.0  # at most
_BAR = 56  # pixels at the top, where the sky is, for the caption
_CAMERA = "track"  # what Gymnasium's robots call the camera that follows them
_STILLS = (0.25, 0.52, 0.8)  # parts of the film's length: before, at and after the swap

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FilmJob:
    """What to film.

    Attributes:
        task: name or Gymnasium id.
        seed: of the first episode.
        max_episode_steps: control steps until an episode is cut, None = the task's own limit.
        actions: ``.npy`` file, float32 (steps, m), played from the first step of the first
            episode on, episode after episode.
        first, last: steps between which to film.
        swap: the step from which the second backend serves.
        backends: names of both.
        captions: one line a backend.
        film, still: files to write, ``.mp4`` and ``.png``.
    """

    task: str
    seed: int
    max_episode_steps: int | None
    actions: str
    first: int
    last: int
    swap: int
    backends: tuple[str, str]
    captions: tuple[str, str]
    film: str
    still: str

    def start(self, path: Path, gl: str) -> Child:
        """Write the job to ``path`` and start the process that renders it, with library ``gl``."""
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        # MuJoCo chooses its OpenGL library when it is imported.
        return Child(__name__, [str(path)], path.with_suffix(".log"), {"MUJOCO_GL": gl})


def film(job: FilmJob) -> None:
    """Render ``job``: the film at the speed of reality, and three of its frames side by side.

    Raises:
        InputError: no OpenGL, no video encoder or a full disk; the text says which.
    """
    simulation = Simulation(job.task, max_episode_steps=job.max_episode_steps)
    period = simulation.contract.period
    # One frame every so many steps; the epsilon forgives 1 / (25 * 0.008) = 5.000000000000001.
    every = max(1, math.ceil(1 / (_FRAMES_PER_SECOND * period) - 1e-9))
    count = (job.last - job.first + every - 1) // every
    chosen = {int(part * (count - 1)) for part in _STILLS}
    stills = []
    try:
        import imageio.v2 as imageio  # noqa: PLC0415  absent where no film is wanted

        writer: Any
        part = Path(job.film).with_name(f".{Path(job.film).name}")  # the suffix says the format
        with imageio.get_writer(
            part, fps=1 / (every * period), macro_block_size=None, quality=7
        ) as writer:
            for index, frame in enumerate(_frames(job, simulation, every)):
                writer.append_data(frame)
                if index in chosen:
                    stills.append(frame)
        part.replace(job.film)
        still: bytes = imageio.imwrite("<bytes>", np.concatenate(stills, axis=1), format="png")
        write_atomically(Path(job.still), still)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"film: {reason}") from error
    finally:
        simulation.close()


def _frames(job: FilmJob, simulation: Simulation, every: int) -> Iterator[Frame]:
    """Play the actions and yield every ``every``-th frame of the part to film."""
    model, data = simulation.model, simulation.data
    if model is None:
        raise ValueError(f"{job.task} is not a MuJoCo task")
    follows = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, _CAMERA) >= 0
    scribe = _Scribe(job)
    session = Session(simulation, job.seed)
    prepare_rendering()
    with mujoco.Renderer(model, _SIZE, _SIZE) as renderer:
        for step, action in enumerate(np.load(job.actions)[: job.last]):
            if step >= job.first and (step - job.first) % every == 0:
                renderer.update_scene(data, camera=_CAMERA if follows else -1)
                # Shadows and reflections double the time and show little.
                renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
                renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
                seconds = (step - job.first) * simulation.contract.period
                yield scribe.write(renderer.render(), step, seconds)
            session.step(action)


class _Scribe:
    """Writes captions into frames."""

    def __init__(self, job: FilmJob) -> None:
        from PIL import ImageFont  # noqa: PLC0415  comes with imageio

        self._job = job
        self._large: Any = ImageFont.load_default(size=19)
        self._small: Any = ImageFont.load_default(size=15)

    def write(self, frame: Frame, step: int, seconds: float) -> Frame:
        """Return the frame with task, backend and time in a bar at its top."""
        from PIL import Image, ImageDraw  # noqa: PLC0415  comes with imageio

        swapped = int(step >= self._job.swap)
        name, caption = self._job.backends[swapped], self._job.captions[swapped]
        picture = Image.fromarray(frame)
        draw = ImageDraw.Draw(picture, "RGBA")
        draw.rectangle((0, 0, _SIZE, _BAR), fill=(16, 18, 22, 215))
        draw.rectangle((0, 0, 8, _BAR), fill=colour(name))
        draw.text((20, 6), name, font=self._large, fill="white")
        draw.text((20, 31), caption, font=self._small, fill="#c8ccd2")
        right = f"{self._job.task}   {seconds:4.1f} s"
        draw.text((_SIZE - 12, 9), right, font=self._small, fill="#c8ccd2", anchor="ra")
        return np.asarray(picture)


def main() -> int:
    """Render the job whose file is named on the command line."""
    fields = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    fields |= {name: tuple(fields[name]) for name in ("backends", "captions")}
    try:
        film(FilmJob(**fields))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201  read by the parent
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
