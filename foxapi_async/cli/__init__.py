"""The ``foxapi`` command: one module for each command, loaded when it is used.

A command writes twice: ``Screen.record`` for programs, as lines of JSON, and ``Screen.print`` for
people; the screen shows one of the two. ``running.run`` is where every error becomes a line on
stderr and an exit code.
"""
