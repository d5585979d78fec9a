"""The simulated models: a request in, a whole script of an answer out, the same one every time.

Pure: no clock, no loop, no chance. What they do, in this order:

- ``[[fail:CODE]]`` in the last user message fails the task with that code of contract §8.3, for
  example ``[[fail:content_policy_violation]]``; ``[[fail:timeout:3]]`` first writes three tokens.
- ``tool_choice`` that asks for a tool (``"required"`` or a named function) calls it, with arguments
  that its schema allows.
- ``response_format`` is answered with JSON: any object, or an instance of the schema.
- "count 1 to 3", "count from 5 to 9", "count 10 to 1", "count to 4 by 2" are counted out.
- Anything else gets a short reply that quotes the prompt and names the media beside it.

A token is a word. ``max_tokens`` and ``max_completion_tokens`` cut the answer of each choice,
``stop`` ends its text, ``n`` asks for several. Thinking models think first, and that counts too.
"""

from foxapi_async.gateway.models.script import Frame, Script
from foxapi_async.gateway.models.simulate import is_costly, simulate

__all__ = ["Frame", "Script", "is_costly", "simulate"]
