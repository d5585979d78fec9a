"""``fox.models``: what this key may use."""

from typing import final

from foxapi_async._client.service import Service
from foxapi_async._wire.results import ModelInfo


@final
class Models:
    """The models of the service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self) -> tuple[ModelInfo, ...]:
        """Return the models that the service offers to this key; retried as a read, unbilled."""
        return await self._service.fetch_models()
