"""The short form of a rule: ``ROUTE:FAULT`` or ``ROUTE:FAULT:NAME=VALUE,NAME=VALUE``.

``submit:503`` is an error of this status, a name alone (``late``) is a switch that is on. Values
hold no comma; a rule that needs one is written as an object.
"""

from collections.abc import Mapping
from typing import Any

from foxapi_async.errors import ConfigError


def read_rule(text: str) -> dict[str, str]:
    """Return the members that ``text`` gives, all of them as texts."""
    route, colon, rest = text.strip().partition(":")
    fault, _, options = rest.partition(":")
    if not route or not colon or not fault:
        raise ConfigError("write ROUTE:FAULT, as in submit:503 or stream:cut:chunk=5")
    members = {"on": route, "fault": fault.replace("_", "-")}
    if fault.isascii() and fault.isdigit():
        members |= {"fault": "status", "status": fault}
    for option in options.split(",") if options else ():
        name, equals, value = (part.strip() for part in option.partition("="))
        if not name:
            raise ConfigError("an option has no name; write NAME=VALUE between the commas")
        if name in members:
            raise ConfigError(f"{name} is given twice; leave one out")
        if equals and not value:
            raise ConfigError(f"{name} has no value; write {name}=VALUE, or {name} alone")
        members[name] = value if equals else "true"
    return members


def write_rule(members: Mapping[str, Any]) -> str:
    """Return the short form of a rule's members."""
    rest = dict(members)
    route, fault = rest.pop("on"), rest.pop("fault")
    if fault == "status":
        fault = rest.pop("status")
    options = ",".join(
        name if value is True else f"{name}={_number(value)}" for name, value in rest.items()
    )
    return f"{route}:{fault}:{options}" if options else f"{route}:{fault}"


def _number(value: object) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)
