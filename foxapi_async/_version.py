"""The version, in one place: the wheel, the User-Agent and the changelog's test read it here."""

__version__ = "0.1.0"
