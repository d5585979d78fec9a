"""The rules of each model as data, and the check that both client and gateway call."""

from foxapi_async._catalog.check import check, violations
from foxapi_async._catalog.models import CAPABILITIES, MODELS, CatalogModel, MaxTokens, catalog

__all__ = ["CAPABILITIES", "MODELS", "CatalogModel", "MaxTokens", "catalog", "check", "violations"]
