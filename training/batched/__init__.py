"""Many runs at once on one accelerator: teachers, quantised students and their last rung by RL.

The simulator stays MuJoCo on the processor's cores; networks of all runs are stacked and learn in
one compiled function (JAX). ``python -m qpolicy_training.batched --help`` says how it is used.
"""
