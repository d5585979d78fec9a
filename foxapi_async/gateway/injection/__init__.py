"""Fault rules carried out on requests and responses.

``injector`` changes requests and responses, ``faulty_stream`` sends an event stream with faults.
"""
