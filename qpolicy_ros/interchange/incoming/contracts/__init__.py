"""Contracts of other projects, and our own: what a network's values and actions are.

``read.read_contract`` tells the forms apart, a module a form; ``make.make_contract`` takes
whatever says it.
"""
