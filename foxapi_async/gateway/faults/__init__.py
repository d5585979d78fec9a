"""Fault injection: failures that the gateway makes on purpose.

``rule`` defines one rule and its short form, ``catalog`` lists the faults, ``loading`` reads rules
from files and requests, and ``plan`` decides which rules act on a call. The package ``injection``
carries them out.
"""
