"""Blocking calls: one at a time, many at a time, a stream, threads."""

from concurrent.futures import ThreadPoolExecutor

from foxapi_async.sync import FoxSession, as_completed

with FoxSession() as fox:
    completion = fox.llm.generate(model="gpt-5.5", messages="count 1 to 3")
    print(completion.text)

    # A submit returns as soon as the service has accepted the task, so the tasks run together.
    prompts = [f"count 1 to {last}" for last in range(2, 8)]
    handles = [fox.llm.submit(model="gpt-5.5", messages=prompt) for prompt in prompts]
    for handle in as_completed(handles):
        print(handle.id, handle.result().text)

    handle = fox.llm.submit(model="kimi-k2.6", messages="count 1 to 5", stream=True)
    for delta in handle.stream():
        print(delta.text, end="", flush=True)
    print()

    # Threads share the session, its connections and its limits.
    def answer(prompt: str) -> str:
        return fox.llm.generate(model="gpt-5.5", messages=prompt).text

    with ThreadPoolExecutor(8) as pool:
        print(list(pool.map(answer, prompts)))
