"""The list of models that a token may use (CONTRACT §7.2, endpoint #4)."""

from foxapi_async._wire.shape import Answer, Reader


class ModelInfo(Answer, frozen=True, kw_only=True, gc=False):
    """One model; ``capabilities`` in the service's order: text, vision, video, audio, file."""

    id: str
    object: str = "model"
    capabilities: tuple[str, ...] = ()


class ModelList(Answer, frozen=True, kw_only=True, gc=False):
    """The answer of the endpoint; a group without models has an empty ``data``."""

    object: str = "list"
    data: tuple[ModelInfo, ...] = ()


model_lists = Reader(ModelList)
