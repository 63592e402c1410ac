"""From a bag to numbers and plots, without ROS 2.

Reading order: ``bag`` opens what was recorded (``mcap`` scans one kind of file, ``cdr`` reads
messages by the thousand), ``trace`` puts topics, clocks and stamps together, ``ticks`` says which
answer belongs to which backend, ``summary`` and ``bootstrap`` compute, ``figures``, ``text`` and
``page`` show.
"""
