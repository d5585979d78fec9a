"""The JSON of the service: msgspec structs with their decoders and encoders, paths, task ids.

Client and gateway share these modules, so that both have the same format. No module here does I/O,
makes decisions or imports another package of foxapi_async.
"""
