"""What every room needs and none owns: errors, files, plots, the machine.

Imports nothing of ours.
"""
