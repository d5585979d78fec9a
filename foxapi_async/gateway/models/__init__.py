"""The models that answer: the protocol, the registry and the simulated models.

A simulated model always gives the same answer to a request. The first rule that applies decides:

- ``[[fail:CODE]]`` in the last user message fails the task with that code of contract §8.3, for
  example ``[[fail:content_policy_violation]]``. ``[[fail:timeout:3]]`` writes three tokens first.
- ``tool_choice`` that requires a tool (``"required"`` or a named function) gives a call of it with
  arguments that match its schema.
- ``response_format`` gives JSON: any object, or a value that matches the schema.
- "count 1 to 3", "count from 5 to 9", "count 10 to 1", "count to 4 by 2" give the numbers.
- Any other message gives a short reply that quotes the prompt and names its media.

A token is a word. ``max_tokens`` and ``max_completion_tokens`` limit each choice, ``stop`` ends its
text, ``n`` sets the number of choices. Thinking models emit reasoning first, which counts too.
"""

from foxapi_async.gateway.models.model import (
    RESTARTED_MESSAGE,
    Job,
    Model,
    ModelError,
    ModelKind,
    Output,
)
from foxapi_async.gateway.models.model_rules import parse_model
from foxapi_async.gateway.models.registry import ModelRegistry, make_models
from foxapi_async.gateway.models.replies import NoReplyLeftError, Replies, Reply
from foxapi_async.gateway.models.scripted_model import ScriptedModel
from foxapi_async.gateway.models.simulated_model import SimulatedModel

__all__ = [
    "RESTARTED_MESSAGE",
    "Job",
    "Model",
    "ModelError",
    "ModelKind",
    "ModelRegistry",
    "NoReplyLeftError",
    "Output",
    "Replies",
    "Reply",
    "ScriptedModel",
    "SimulatedModel",
    "make_models",
    "parse_model",
]
