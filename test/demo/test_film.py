"""The film of played actions, in a process of its own."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from qpolicy_ros.demo.film import FilmJob

imageio = pytest.importorskip("imageio.v2")
pytest.importorskip("PIL")

STEPS = 12
SECONDS = 120


@pytest.fixture
def job(tmp_path):
    np.save(tmp_path / "actions.npy", np.full((STEPS, 6), 0.5, np.float32))
    return FilmJob(
        task="HalfCheetah-v4",
        seed=0,
        max_episode_steps=None,
        actions=str(tmp_path / "actions.npy"),
        first=2,
        last=STEPS,
        swap=6,
        backends=("integer", "fp32"),
        captions=("3-bit weights", "float32 weights"),
        film=str(tmp_path / "film.mp4"),
        still=str(tmp_path / "still.png"),
    )


def render(job, tmp_path, gl=""):
    child = job.start(tmp_path / "job.json", gl or os.environ.get("MUJOCO_GL", "egl"))
    return child, child.wait(SECONDS)


@pytest.fixture
def rendered(job, tmp_path):
    child, code = render(job, tmp_path)
    if code:
        pytest.skip(f"no OpenGL here: {child.complaint()}")
    return job


def test_the_film_runs_at_the_speed_of_reality(rendered):
    reader = imageio.get_reader(rendered.film)
    # HalfCheetah's control period is 50 ms: a frame a step.
    assert reader.get_meta_data()["fps"] == 20
    assert reader.count_frames() == STEPS - 2


def test_the_still_shows_three_frames_with_the_colour_of_who_serves(rendered):
    still = imageio.imread(rendered.still)
    assert still.shape == (480, 3 * 480, 3)
    bars = [tuple(still[20, 480 * index + 3]) for index in range(3)]
    assert bars == [(0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00), (0xD5, 0x5E, 0x00)]


def test_the_robot_is_in_the_picture(rendered):
    still = imageio.imread(rendered.still).astype(int)
    red, green, blue = np.moveaxis(still[60:, :480], -1, 0)
    # The robot is the only thing that is neither grey nor green.
    assert np.sum((red - green > 25) & (red - blue > 25)) > 2000


def test_without_opengl_the_reason_is_told(job, tmp_path):
    child, code = render(job, tmp_path, gl="nonsense")
    assert code == 1
    assert "nonsense" in child.complaint()


def test_a_full_or_missing_folder_is_told(job, tmp_path):
    child, code = render(replace(job, film=str(tmp_path / "no" / "film.mp4")), tmp_path)
    assert code == 1
    assert "error: film: " in child.complaint()
