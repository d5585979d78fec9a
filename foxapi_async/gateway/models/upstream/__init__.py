"""Models that another server answers, by OpenAI's chat API."""

from foxapi_async.gateway.models.upstream.upstream_model import UpstreamModel

__all__ = ["UpstreamModel"]
