"""The list of models that a token may use (contract §7.2, endpoint #4)."""

from foxapi_async._wire.base import Decoder, ResponseStruct


class ModelInfo(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """One model of the service's list."""

    id: str
    """The id of the model."""
    object: str = "model"
    """The kind of object."""
    capabilities: tuple[str, ...] = ()
    """What the model reads: ``text``, ``vision``, ``video``, ``audio``, ``file``, in the order of
    the service.
    """


class ModelList(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The answer of the endpoint; a group without models has an empty ``data``."""

    object: str = "list"
    data: tuple[ModelInfo, ...] = ()


model_list_decoder = Decoder(ModelList)
