"""A small model on this machine, served by llama.cpp in a process of its own.

``weights`` finds and fetches the weights, ``llama_server.py`` is the program of the child process,
``llama_process`` starts it and starts it again, ``local_model`` answers requests with it.
"""

from foxapi_async.gateway.models.local.local_model import (
    LOCAL_NAME,
    LocalModel,
    check_extra,
    local_model_id,
)

__all__ = ["LOCAL_NAME", "LocalModel", "check_extra", "local_model_id"]
