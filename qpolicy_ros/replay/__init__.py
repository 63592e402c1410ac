"""Computes every recorded command again and compares bit for bit; no ROS 2 needed.

Reading order: ``recording`` takes a bag's topics apart (``sensors`` those of a robot), ``ticks``
says which observation, answer and message each command belongs to, ``expected`` computes what the
policy's node must have sent (``assembly`` the observation, ``answers`` the policy, ``limits`` the
limits and rates), ``compare`` finds the ticks that differ, ``explain`` says why, ``figure``,
``page`` and ``text`` show it.
"""
