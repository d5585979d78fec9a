"""What each model allows, as data, and the one check that client and gateway both call."""

from foxapi_async._catalog.check import check, violations
from foxapi_async._catalog.models import MODELS, CatalogModel, MaxTokens, catalog

__all__ = ["MODELS", "CatalogModel", "MaxTokens", "catalog", "check", "violations"]
