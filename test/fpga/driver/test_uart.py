"""Transport uart: the real driver and pyserial against the simulated UART RTL, through a pty."""

from __future__ import annotations

import contextlib
import random
import time

import numpy as np
import pytest
from faults import FAULTS, spoil
from policy_builders import random_artifact, random_observations
from uart_board import Board, Line, build_board

from qpolicy_ros.backends import BackendError, check_golden, create_backend
from qpolicy_ros.backends.fpga import uart
from qpolicy_ros.backends.fpga.frames import Decoder, Frame, encode
from qpolicy_ros.backends.fpga.packing import Shape
from qpolicy_ros.policy import PolicyError

INPUTS = 11
SIZES = {"hidden": (8,), "outputs": 3}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def artifact():
    return random_artifact(3, INPUTS, **SIZES)


@pytest.fixture(scope="module")
def library(artifact, tmp_path_factory):
    return build_board(artifact, tmp_path_factory.mktemp("uart"))


@pytest.fixture
def board(library, tmp_path, monkeypatch):
    # The simulated board shares a busy machine; what tests silence sets its own limit.
    monkeypatch.setattr(uart, "_ANSWER_LIMIT", 5.0)
    board = Board(library, tmp_path / "tty")
    yield board
    if board.path.is_symlink():
        board.unplug()


@pytest.fixture
def backend(board, artifact):
    backend = create_backend("fpga", artifact, {"transport": "uart", "device": str(board.path)})
    yield backend
    backend.close()


@pytest.fixture
def line(library):
    line = Line(library)
    yield line
    line.close()


def ask(line, data, cycles=40_000):
    return Decoder(64).feed(line.run(data, cycles))


def status(line, data, cycles=40_000):
    """Status of the one reply to ``data``."""
    (frame,) = ask(line, data, cycles)
    return frame.payload[0]


def until(condition, limit=90.0):
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


# The driver


def test_golden_vectors(backend, artifact):
    check_golden(backend, artifact)


def test_actions_equal_the_integer_backends(backend, artifact, full):
    integer = create_backend("integer", artifact)
    for observation in random_observations(5, 2000 if full else 50, INPUTS):
        np.testing.assert_array_equal(backend.act(observation), integer.act(observation))


def test_another_policys_core_is_refused(board):
    other = random_artifact(4, INPUTS, **SIZES)
    with pytest.raises(BackendError, match=r"it holds function .* load the bitstream"):
        create_backend("fpga", other, {"transport": "uart", "device": str(board.path)})


def test_a_silent_board_is_named_in_time(board, backend, monkeypatch):
    monkeypatch.setattr(uart, "_ANSWER_LIMIT", 0.05)
    board.to_host = lambda _: b""
    begin = time.monotonic()
    with pytest.raises(BackendError, match=r"no answer within 5[0-9] ms"):
        backend.act(np.zeros(INPUTS, np.float32))
    assert time.monotonic() - begin < 4.0  # not the fixture's 5 s


def test_a_damaged_reply_is_named(board, backend, monkeypatch):
    monkeypatch.setattr(uart, "_ANSWER_LIMIT", 0.3)
    board.to_host = lambda data: data[:-1] + bytes([data[-1] ^ 1]) if data else data
    with pytest.raises(BackendError, match=r"bytes but no whole reply|no answer"):
        backend.act(np.zeros(INPUTS, np.float32))


def test_a_damaged_request_is_named(board, backend):
    board.to_board = lambda data: data[:-1] + bytes([data[-1] ^ 1]) if data else data
    with pytest.raises(BackendError, match=r"refused: the frame arrived damaged \(CRC\)"):
        backend.act(np.zeros(INPUTS, np.float32))


def test_a_reply_damaged_once_is_asked_for_again(board, backend, artifact, monkeypatch):
    monkeypatch.setattr(uart, "_ANSWER_LIMIT", 0.3)
    observation = artifact.golden.observations[0]
    damages = iter([True])
    board.to_host = lambda data: b"?" + data[1:] if data and next(damages, False) else data
    np.testing.assert_array_equal(backend.act(observation), artifact.golden.actions[0])


def test_garbage_before_the_reply_is_skipped(board, backend, artifact):
    board.to_host = lambda data: b"\xa5\x00garbage" * bool(data) + data
    check_golden(backend, artifact)


def test_a_spoilt_line_gives_no_wrong_action(board, backend, artifact, monkeypatch, full):
    monkeypatch.setattr(uart, "_ANSWER_LIMIT", 0.2)
    rng = random.Random(8)
    for index in range(300 if full else len(FAULTS)):
        kind = FAULTS[index % len(FAULTS)]
        damages = iter([True, rng.random() < 0.5])  # the second try too, or not

        def hook(data, kind=kind, damages=damages):
            return spoil(data, kind, rng) if data and next(damages, False) else data

        setattr(board, rng.choice(["to_board", "to_host"]), hook)
        answer = index % len(artifact.golden.actions)
        with contextlib.suppress(BackendError):
            action = backend.act(artifact.golden.observations[answer])
            np.testing.assert_array_equal(action, artifact.golden.actions[answer])
        board.to_board = board.to_host = lambda data: data
        assert until(lambda: backend.device is not None)
    monkeypatch.setattr(uart, "_ANSWER_LIMIT", 5.0)
    check_golden(backend, artifact)


def test_an_unplugged_board_is_named_and_comes_back(board, backend, artifact):
    observation = artifact.golden.observations[0]
    backend.act(observation)
    board.unplug()
    with pytest.raises(BackendError, match="tty"):
        backend.act(observation)
    begin = time.monotonic()
    with pytest.raises(BackendError, match=r"looking for it every 0\.5 s"):
        backend.act(observation)
    assert time.monotonic() - begin < 4.0  # at once, not the fixture's 5 s
    board.plug()
    assert until(lambda: backend.device is not None)
    check_golden(backend, artifact)


def test_out_of_range_codes_never_leave_the_host(backend):
    codes = np.zeros(INPUTS, np.int32)
    codes[2] = 8
    with pytest.raises(BackendError, match=r"input code 2: 8 is out of range \[-8, 7\]"):
        backend.device.infer(codes)


@pytest.mark.parametrize("device", ["", "/dev/tty@fast"])
def test_a_device_that_is_no_port_is_refused(artifact, device):
    with pytest.raises(PolicyError, match="is no serial port; give"):
        create_backend("fpga", artifact, {"transport": "uart", "device": device})


def test_a_port_that_is_not_there_is_named(artifact, tmp_path):
    device = str(tmp_path / "tty")
    with pytest.raises(BackendError, match="No such file"):
        create_backend("fpga", artifact, {"transport": "uart", "device": device})


def test_a_line_that_never_rests_ends_in_time(artifact):
    class Babbling:
        baudrate, in_waiting = 1_000_000, 0
        write = staticmethod(len)
        read = staticmethod(lambda size: bytes(max(size, 1)))

    device = uart.UartDevice(Babbling(), Shape.of(artifact.network), "babbling")
    with pytest.raises(BackendError, match=r"babbling: .* bytes but no whole reply"):
        device.identify()


# The RTL, byte by byte


def request(codes_bytes=b"\0" * 6, kind=2, sequence=9):
    return encode(Frame(kind, sequence, codes_bytes))


def test_a_reply_carries_the_requests_sequence(line):
    (frame,) = ask(line, request(sequence=200))
    assert (frame.kind, frame.sequence, frame.payload[0]) == (0x82, 200, 0)


def test_the_cycles_of_the_core_are_reported(line, artifact, tmp_path):
    from qpolicy_fpga import generate  # noqa: PLC0415

    manifest = generate(artifact, "xc7a35t", 100.0, "latency", tmp_path)
    (frame,) = ask(line, request())
    assert int.from_bytes(frame.payload[1:5], "little") == manifest.cycles


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (request(kind=3), 2),
        (request(b"\0" * 5), 3),
        (encode(Frame(1, 0, b"\0")), 3),
        (request(b"\0" * 5 + b"\xf0"), 4),
    ],
    ids=["type", "length", "identify with payload", "bit where no code lies"],
)
def test_a_request_that_cannot_be_served_is_answered_so(line, data, answer):
    assert status(line, data) == answer
    assert status(line, request()) == 0


@pytest.mark.parametrize("position", range(5, len(request())))
def test_a_damaged_request_is_never_served(line, position):
    data = bytearray(request())
    data[position] ^= 0x04
    assert status(line, bytes(data)) == 1


def test_half_a_frame_is_forgotten_in_time(line):
    assert ask(line, request()[:7], cycles=30_000) == []
    assert status(line, request()) == 0


def test_garbage_is_skipped(line):
    assert ask(line, bytes(range(0x20, 0xA0)) + b"\xa5\x02\x00\xff\xff") == []
    assert status(line, request()) == 0


def test_a_request_while_busy_is_reported_by_the_next_reply(line):
    replies = ask(line, request() + request())
    assert [reply.payload[0] for reply in replies] == [0]
    assert status(line, request()) == 6
    assert status(line, request()) == 0


def test_a_core_that_is_not_done_is_reset_and_reported(artifact, tmp_path, full):
    if not full:
        pytest.skip("a second simulation: make test-full")
    line = Line(build_board(artifact, tmp_path, core_limit=2))
    assert status(line, request()) == 5
    assert status(line, encode(Frame(1, 0, b""))) == 0
    line.close()
