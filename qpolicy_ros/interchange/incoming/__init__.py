"""Policies of other tools: a reader a format, one form in between, and equality shown at import.

A source becomes a :class:`~.graph.Graph` of neutral operators (ONNX, TorchScript, torch.export) or
a list of layers (checkpoints of weights); ``reduce`` finds the network in it; ``equality``
compares it with the source's own runtime. Nothing that a file says is ever run as code.
"""
