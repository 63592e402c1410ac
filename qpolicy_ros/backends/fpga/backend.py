"""Backend ``fpga``: input codes and action table on the host, all layers in the accelerator."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from qpolicy_ros.backends.base import BackendError, take_options
from qpolicy_ros.backends.fpga.device import Device, check_golden_codes, check_identity
from qpolicy_ros.backends.fpga.packing import Shape
from qpolicy_ros.backends.fpga.transports import open_device
from qpolicy_ros.backends.fpga.watch import FabricWatch
from qpolicy_ros.common.errors import InputError, PolicyError
from qpolicy_ros.policy.model import Float32, PolicyArtifact
from qpolicy_ros.policy.numpy_engine import NumpyEngine

_LOG = logging.getLogger(__name__)
_RETRY = 0.5  # s between attempts to find a lost accelerator again
_CLOSE_LIMIT = 2.0  # s that `close` waits for the search; it may be compiling a simulation
_OPTIONS = {"transport": "rtlsim", "device": "", "bitstream": ""}


class FpgaBackend:
    """The integer policy in an accelerator.

    Options: ``transport`` (``rtlsim``, ``pynq`` or ``uart``), ``device`` (the serial port, or the
    name of the IP in the overlay) and ``bitstream`` (the ``.bit`` to load, or for ``rtlsim`` a
    generated folder).

    An accelerator that fails is closed, and a thread looks for it until it is back, checked anew;
    until then ``act`` raises at once, so that no observation waits for a device that is not there.

    Raises:
        PolicyError: the artifact has no integer network, or an option is wrong.
        BackendError: the accelerator is not there or holds another policy.
    """

    name = "fpga"

    def __init__(self, artifact: PolicyArtifact, options: Mapping[str, Any]) -> None:
        chosen = take_options(self.name, options, _OPTIONS)
        if artifact.network is None:
            remedy = "choose backend 'fp32' or a policy with an integer network"
            wrong = "'fpga' cannot serve this policy, it holds an FP32 baseline alone"
            raise PolicyError.at(artifact.path, "backend", wrong, remedy)
        self._artifact, self._options = artifact, chosen
        self._host = NumpyEngine(artifact.network)
        self._table = artifact.network.table
        self._actions = np.arange(self._table.shape[0])
        self._output_min = artifact.network.output_min
        self._shape = Shape.of(artifact.network)
        # Taken now: the engine belongs to the hot path, a lost accelerator is looked for beside it.
        self._golden = [self._host.input_codes(row) for row in artifact.golden.observations]
        self._names = [channel.name for channel in artifact.contract.observation]
        self._lost = ""
        self._closing = threading.Event()
        self._handover = threading.Lock()  # of the device between the search and `close`
        self._seeker: threading.Thread | None = None
        self._device: Device | None = self._open()

    @property
    def quantise_ns(self) -> int:
        """Time spent on the input codes in the last ``act``, ns."""
        return self._host.quantise_ns

    @property
    def trouble(self) -> str:
        """Why it cannot act at the moment: the accelerator is lost."""
        return self._lost if self._device is None else ""

    @property
    def device(self) -> Device | None:
        """The accelerator, None while it is lost."""
        return self._device

    def act(self, observation: npt.ArrayLike) -> Float32:
        """See ``Backend.act``; BackendError where the accelerator fails or is lost."""
        codes = self._host.input_codes(observation)
        device = self._device
        if device is None:
            raise BackendError(f"{self._lost}; looking for it every {_RETRY:g} s")
        try:
            output = device.infer(codes)
        except BackendError as error:
            self._lose(device, error)
            raise
        actions: Float32 = self._table[self._actions, output - self._output_min]
        return actions

    @property
    def ranges(self) -> int:
        """See ``Watched.ranges``."""
        return self._watch.ranges

    def facts(self) -> dict[str, object]:
        """See ``Watched.facts``."""
        return self._watch.facts() if self._device is not None else {}

    def forget(self) -> None:
        """See ``Watched.forget``."""
        if self._device is not None:
            self._watch.forget()

    def close(self) -> None:
        """Release the accelerator; returns in time, whatever is being tried to open it again."""
        self._closing.set()
        if self._seeker is not None:
            self._seeker.join(_CLOSE_LIMIT)
        with self._handover:
            device, self._device = self._device, None
            self._lost = "fpga: the backend is closed"
        if device is not None:
            device.close()

    def _open(self) -> Device:
        """Return the accelerator, once it has shown that it holds this policy, first or again."""
        device = open_device(self._artifact, **self._options)
        codes = self._artifact.golden.codes
        assert codes is not None
        try:
            identity = device.identify()
            check_identity(device.name, identity, self._artifact.function_hash, self._shape)
            check_golden_codes(device, self._golden, codes)
            self._watch = FabricWatch(device, self._names)
        except BaseException:
            device.close()
            raise
        return device

    def _lose(self, device: Device, error: BackendError) -> None:
        self._device, self._lost = None, str(error)
        device.close()
        self._seeker = threading.Thread(target=self._seek, name="fpga", daemon=True)
        self._seeker.start()

    def _seek(self) -> None:
        """Open the accelerator again, however long it takes; runs beside the hot path."""
        while not self._closing.is_set():
            try:
                device = self._open()
            except (BackendError, InputError) as error:
                self._lost = str(error)
            except Exception as error:  # noqa: BLE001  a driver's own error must not end the search
                self._lost = f"fpga: {type(error).__name__}: {error}"
            else:
                with self._handover:
                    if self._closing.is_set():  # nobody waits for it any more
                        device.close()
                        return
                    self._device = device
                _LOG.warning("fpga: %s is back", device.name)
                return
            self._closing.wait(_RETRY)
