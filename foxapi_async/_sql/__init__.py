"""A database on a thread of its own, with group commit: below the journal and the gateway's store.

SQLAlchemy is imported by that thread alone, because the import takes longer than a loop may block.
What only SQLite has is in ``sqlite``.
"""

from foxapi_async._sql.group_commit import GroupCommitter, Operation
from foxapi_async._sql.worker import DatabaseThread, Tables

__all__ = ["DatabaseThread", "GroupCommitter", "Operation", "Tables"]
