"""From a policy to a bitstream with open tools, and the proof that the bits are the policy's."""

from qpolicy_fpga.build.bitstream import build_bitstream

__all__ = ["build_bitstream"]
