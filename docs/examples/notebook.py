# %% [markdown]
# # FoxAPI in a notebook
#
# Every call blocks its cell until the result is there. The last value of a cell is shown as HTML.

# %%
from foxapi_async.sync import FoxSession, as_completed

fox = FoxSession()  # FOXAPI_API_KEY, FOXAPI_BASE_URL
completion = fox.llm.generate(model="gpt-5.5", messages="count 1 to 3")
completion

# %% [markdown]
# A submit returns a handle as soon as the service has accepted the task. Interrupt a cell that
# waits whenever you like: the task goes on, and the next cell can wait for it again.

# %%
handle = fox.llm.submit(model="kimi-k2.6", messages="count 1 to 20", stream=True)
for delta in handle.stream():
    print(delta.text, end="")

# %%
handle

# %% [markdown]
# Many tasks run at the service together.

# %%
prompts = [f"count 1 to {last}" for last in range(2, 12)]
handles = [fox.llm.submit(model="gpt-5.5", messages=prompt) for prompt in prompts]
answers = {one: one.result().text for one in as_completed(handles, progress=True)}
[answers[one] for one in handles]

# %%
handles[0].task

# %%
fox.stats()

# %%
fox.close()
