"""The rules of the protocol, pure: values in, values out.

No event loop, no HTTP library, no clock and no chance: the time and a drawn number are arguments.
"""
