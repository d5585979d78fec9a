"""The shapes of the service: msgspec structs, their readers and writers, paths and task ids.

Shared by the client and the gateway, so that neither can drift from the other. Nothing here does
I/O, decides anything or imports another part of the package.
"""
