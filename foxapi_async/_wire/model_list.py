"""The list of models (contract §7.2, endpoint #4)."""

from foxapi_async._wire.base import Decoder, ResponseStruct


class ModelInfo(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """One model of the service's list."""

    id: str
    """The id of the model."""
    object: str = "model"
    """The kind of object."""
    capabilities: tuple[str, ...] = ()
    """The inputs that the model accepts: ``text``, ``vision``, ``video``, ``audio``, ``file``, in
    the order of the service.
    """


class ModelList(ResponseStruct, frozen=True, kw_only=True, gc=False):
    """The response of the endpoint. ``data`` is empty for a group without models."""

    object: str = "list"
    """The kind of object."""
    data: tuple[ModelInfo, ...] = ()
    """The models."""


model_list_decoder = Decoder(ModelList)
