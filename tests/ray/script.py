"""A run that tests kill: ``script.py WAY URL FOLDER ROWS [JOURNAL]``. It prints its rows."""

import json
import logging
import sys
from typing import Any

import ray
import ray.data

from foxapi_async import Limits
from foxapi_async.ray import FoxGenerate, generate


def main() -> None:
    """Answer the rows by a journal in the folder, where each worker leaves its process id."""
    way, url, folder, count = sys.argv[1:5]
    journal = sys.argv[5] if len(sys.argv) > 5 else f"{folder}-journal.db"

    def prompt(row: dict[str, Any]) -> str:
        import os
        from pathlib import Path

        Path(folder, str(os.getpid())).touch()
        return str(row["text"])

    options: dict[str, Any] = {
        "model": "gpt-5.5",
        "prompt": prompt,
        "key": "id",
        "journal": journal,
        "limits": Limits(polls_per_second=None),
        "in_flight": 32,
        "session": {"base_url": url},
    }
    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    items = [{"id": number, "text": f"say {number}"} for number in range(int(count))]
    data: Any = ray.data.from_items(items, override_num_blocks=8)
    rows: list[dict[str, Any]] = []
    if way == "rows":
        for table in generate(data, workers=2, **options):
            rows += table.to_pylist()
    else:
        compute = ray.data.ActorPoolStrategy(size=2, max_concurrent_calls_per_actor=8)
        rows += data.map_batches(
            FoxGenerate,
            fn_constructor_kwargs=options,
            batch_format="pyarrow",
            batch_size=25,
            num_cpus=0.1,
            compute=compute,
        ).iter_rows()
    sys.stdout.write(json.dumps(rows))


if __name__ == "__main__":
    main()
