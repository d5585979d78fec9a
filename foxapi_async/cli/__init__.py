"""The ``foxapi`` command. Each subcommand is one module, which is loaded when it is used.

A command writes each result twice: ``Screen.record`` writes JSON lines for programs and
``Screen.print`` writes text for people. The screen shows one of the two. ``runner.run`` turns every
error into lines on stderr and an exit code.
"""
