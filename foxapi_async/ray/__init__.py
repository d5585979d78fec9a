"""FoxAPI for data sets of Ray Data (extra ``ray``).

``FoxGenerate`` is a class for ``Dataset.map_batches``. ``generate`` answers a data set row by row,
without a barrier between batches.
"""

from foxapi_async.ray._fox_generate import FoxGenerate
from foxapi_async.ray._generate import generate

__all__ = ["FoxGenerate", "generate"]
