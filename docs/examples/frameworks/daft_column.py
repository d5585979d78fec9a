"""A column of answers for a data frame of Daft, with errors in a column of their own."""

import daft
from daft import DataType

from foxapi_async import FoxAPIError, FoxSession, Limits

ANSWER = DataType.struct({"text": DataType.string(), "error": DataType.string()})


@daft.cls
class Answer:
    """Answers one row a call. Daft begins all calls of a partition at once: ``Limits`` bounds them.

    A session belongs to the event loop where it is first used, so the first call opens it.
    """

    def __init__(self, journal: str) -> None:
        self.fox = FoxSession(journal=journal, limits=Limits(max_unfinished=64))

    @daft.method(return_dtype=ANSWER)
    async def __call__(self, key: str, text: str) -> dict[str, str | None]:
        try:
            completion = await self.fox.llm.generate(model="gpt-5.5", messages=text, key=key)
        except FoxAPIError as error:
            return {"text": None, "error": f"{type(error).__name__}: {error}"}
        return {"text": completion.text, "error": None}


rows = daft.from_pydict(
    {"id": [f"row-{n}" for n in range(2, 8)], "text": [f"count 1 to {n}" for n in range(2, 8)]}
)
answer = Answer("tasks.db")
answered = rows.with_column("answer", answer(rows["id"], rows["text"]))
for row in answered.to_pylist():
    print(row["id"], row["answer"]["text"] or row["answer"]["error"])
