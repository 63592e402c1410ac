"""The hot path: waiting, taking and publishing on ``rcl``, below rclpy.

What is in here is about speed alone. Every callback is the one that rclpy's executor would call,
and the messages have rclpy's attributes; where the C part cannot be built, rclpy does it all.
"""
