"""A step of a pipeline of Ray Data: ``FoxGenerate`` answers batches, and Ray does the rest."""

import logging

import ray
import ray.data

from foxapi_async.ray import FoxGenerate

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)

rows = ray.data.from_items([{"id": n, "text": f"count 1 to {n}"} for n in range(2, 12)])
answers = rows.map_batches(
    FoxGenerate,
    fn_constructor_kwargs={
        "model": "gpt-5.5",
        "prompt": "text",
        "key": "id",
        "journal": "tasks.db",
    },
    batch_format="pyarrow",  # the columns have the same types in each batch
    batch_size=64,
    num_cpus=0.1,  # a worker mostly waits
    compute=ray.data.ActorPoolStrategy(size=2, max_concurrent_calls_per_actor=16),
)
print(answers.filter(lambda row: row["error"] is None).count(), "rows have an answer")
