"""The side of the driver that needs a generator and a simulator: transport ``rtlsim``."""
