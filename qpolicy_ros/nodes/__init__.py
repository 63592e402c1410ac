"""The ROS 2 nodes: policy server, MuJoCo simulator, recorder.

Reading order: ``server`` and ``safety`` hold what the policy node decides and never import
rclpy; ``policy_node``, ``mujoco_sim_node`` and ``bag_recorder`` connect it to topics; the other
modules (``parameters``, ``qos``, ``diagnostics``, ``timing``, ``runtime``) are shared by them.
"""
