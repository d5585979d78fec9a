"""Submitting what the options describe."""

from typing import TYPE_CHECKING, Any

from foxapi_async.cli.exit_codes import UsageError
from foxapi_async.cli.output import Screen

if TYPE_CHECKING:
    from foxapi_async import FoxSession, LLMHandle


async def submit(
    screen: Screen, fox: "FoxSession", params: dict[str, Any], *, stream: bool
) -> "LLMHandle":
    """Submit the generation; from now on Ctrl-C tells its id."""
    for name in params.get("extra", ()):
        screen.note(f"--param {name}: not a parameter that foxapi knows, sent as it is")
    try:
        handle = await fox.llm.submit(**params, stream=stream)
    except TypeError as error:
        raise UsageError(str(error)) from None
    screen.owe(handle.id)
    return handle


def is_thinking(model: str) -> bool:
    """Tell whether the catalog knows ``model`` as one that thinks before it answers."""
    from foxapi_async import catalog

    return any(item.id == model and item.thinking for item in catalog())
