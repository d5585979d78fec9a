"""Go on with a conversation, and send an image: two generations are billed."""

import asyncio
import base64

from foxapi_async import FoxSession
from foxapi_async.content import image, text

# A PNG of one pixel; image(Path("photo.jpg")) reads a file.
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def main() -> None:
    async with FoxSession() as fox:
        question = {"role": "user", "content": [text("What is this?"), image(PIXEL)]}
        first = await fox.llm.generate(model="gpt-5.5", messages=[question])
        print(first.text)

        next_question = {"role": "user", "content": "count 1 to 3"}
        second = await fox.llm.generate(model="gpt-5.5", messages=[question, first, next_question])
        print(second.text)


asyncio.run(main())
