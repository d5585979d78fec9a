"""Images, a video, speech and its transcript: submit, follow the progress, look at the results."""

import asyncio

from foxapi_async import FoxSession
from foxapi_async.types import TranscriptResult


async def main() -> None:
    async with FoxSession() as fox:
        images = await fox.images.generate(
            model="gpt-image-2", prompt="a fox in the snow", num_outputs=2, output_format="png"
        )
        for image in images:
            print(image.url)

        # The key names the input: the same call again returns the same handle and is not billed.
        handle = await fox.videos.submit(
            model="veo-3.1", prompt="a fox runs", duration=4, key="clip-17"
        )
        async for task in handle.updates():
            print(task.status, task.progress)
        (clip,) = await handle
        print(clip.url, "ends at", clip.expires_at)

        (speech,) = await fox.audios.generate(model="speech-2.8-hd", prompt="hello, fox")
        (transcript,) = await fox.audios.generate(model="scribe-v2", audio_url=speech.url)
        if isinstance(transcript, TranscriptResult):
            print(transcript.text, transcript.language_code)


asyncio.run(main())
