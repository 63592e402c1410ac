"""Statements about a policy's integer function, proved or refuted for every input of a box."""
