"""Parquet in, Parquet out, by two workers; a second run sends only what is missing."""

import logging

import pyarrow as pa
import pyarrow.parquet as pq
import ray
import ray.data

from foxapi_async.ray import generate

pq.write_table(
    pa.table({"id": [1, 2, 3], "text": ["count 1 to 3", "count 1 to 4", None]}), "rows.parquet"
)

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)

tables = generate(
    ray.data.read_parquet("rows.parquet"),
    workers=2,
    model="gpt-5.5",
    prompt="text",
    key="id",
    journal="tasks.db",
)
first = next(tables)
with pq.ParquetWriter("answers.parquet", first.schema) as writer:
    writer.write_table(first)
    for table in tables:
        writer.write_table(table)

for row in pq.read_table("answers.parquet").sort_by("id").to_pylist():
    print(row["id"], row["answer"] or row["error"])
