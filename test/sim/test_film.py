"""Films: speed, and a reason where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from qpolicy_ros.policy import PolicyError
from qpolicy_ros.sim.film import Film

imageio = pytest.importorskip("imageio.v2")


class Screen:
    """Stands for a simulation: each frame has another grey."""

    def __init__(self):
        self.frames = 0

    def render(self):
        self.frames += 1
        return np.full((64, 64, 3), self.frames * 10 % 256, np.uint8)


class Broken:
    def render(self):
        raise AttributeError("no EGL\nhere")


@pytest.mark.parametrize(("period", "frames", "rate"), [(0.05, 40, 20.0), (0.008, 10, 31.25)])
def test_a_film_lasts_as_long_as_reality(tmp_path, period, frames, rate):
    path, screen = tmp_path / "film.mp4", Screen()
    film = Film(str(path), period)
    for _ in range(40):
        film.add(screen)
    assert not path.exists()
    film.close()
    assert [file.name for file in tmp_path.iterdir()] == ["film.mp4"]
    assert screen.frames == frames
    assert imageio.get_reader(path).get_meta_data()["fps"] == pytest.approx(rate, rel=0.01)


def test_a_frame_that_cannot_be_rendered_gives_its_reason_in_one_line(tmp_path):
    (tmp_path / "film.mp4").write_bytes(b"an older film")
    film = Film(str(tmp_path / "film.mp4"), 0.05)
    with pytest.raises(PolicyError, match="video: AttributeError: no EGL here; check that EGL"):
        film.add(Broken())
    film.close()
    assert (tmp_path / "film.mp4").read_bytes() == b"an older film"


def test_a_format_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(PolicyError, match=r"film.none: video: "):
        Film(str(tmp_path / "film.none"), 0.05)


@pytest.mark.parametrize("name", ["noext", "film.txt"])
def test_a_name_that_says_no_format_is_refused_and_nothing_is_left(tmp_path, name):
    with pytest.raises(PolicyError, match=r"does not say by its end .*; end it on \.mp4, "):
        Film(str(tmp_path / name), 0.02)
    assert not list(tmp_path.iterdir())
