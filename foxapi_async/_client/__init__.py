"""The client: session, handles, streams, and what drives them."""
