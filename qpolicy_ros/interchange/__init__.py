"""Policies in other tools' formats: what goes out and what comes in."""
