"""What the gateway does wrong on purpose.

``rule`` says what and when, ``text`` and ``source`` how it is written down, ``plan`` decides which
rules act on a call, ``answer`` and ``stream`` do what was decided.
"""
