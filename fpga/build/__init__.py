"""From a policy to a bitstream with open tools, and the proof that the bits are the policy's."""
