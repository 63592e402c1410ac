# The package on ROS 2 Jazzy: nodes, launch files, the simulator and `ros2 bag`.
# Not built where this was written (no container engine, no registry there).
#
#   docker build -f docker/jazzy.Dockerfile -t qpolicy_ros:jazzy .
#   docker run --rm -it --net=host --ipc=host qpolicy_ros:jazzy ros2 launch qpolicy_ros sim.launch.py
FROM ros:jazzy-ros-base

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
ENV DEBIAN_FRONTEND=noninteractive

# A compiler for the integer kernel and the hot path, EGL for films.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        g++ libegl1 libgl1-mesa-dri python3-dev python3-pip python3-venv \
        ros-jazzy-rosbag2-storage-mcap \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /ws
COPY . src/qpolicy_ros

# Keys of package.xml from apt; the rest, which apt does not have, into an environment that sees them.
RUN apt-get update \
    && rosdep update --rosdistro jazzy \
    && rosdep install --from-paths src --ignore-src -y \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv --system-site-packages /opt/qpolicy \
    && /opt/qpolicy/bin/pip install --no-cache-dir \
        "safetensors>=0.4" "tyro>=0.9.20" "gymnasium>=1.0" "mujoco>=3.2" \
        "mujoco-menagerie>=2026.9" "rosbags>=0.11.9" "ruamel.yaml>=0.18" "matplotlib>=3.5"

# Built by the environment's Python, so that the nodes start with it.
RUN . /opt/ros/jazzy/setup.bash \
    && /opt/qpolicy/bin/python -m colcon build --packages-select qpolicy_ros

RUN printf '%s\n' '#!/bin/bash' 'set -e' '. /opt/ros/jazzy/setup.bash' \
        'source /ws/install/setup.bash' 'exec "$@"' > /entrypoint.sh \
    && chmod +x /entrypoint.sh \
    && useradd --create-home --uid 10001 robot
USER 10001
WORKDIR /home/robot
ENTRYPOINT ["/entrypoint.sh"]
CMD ["ros2", "launch", "qpolicy_ros", "sim.launch.py", "episodes:=1"]
