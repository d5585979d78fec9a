"""Media tasks: their endpoints, and simulated models that make small real files."""

from foxapi_async.gateway.media.media_routes import MediaRoutes
from foxapi_async.gateway.media.simulated_media import SimulatedMedia

__all__ = ["MediaRoutes", "SimulatedMedia"]
