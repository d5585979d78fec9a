"""The rules of the protocol as pure functions and small state machines.

They use no event loop, no HTTP library, no clock and no random numbers: the time and the random
numbers are arguments.
"""
