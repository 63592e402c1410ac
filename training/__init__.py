"""Training, quantisation and export of policies; imports as `qpolicy_training`."""
