"""Typed answers: the JSON schema of a type, and the value of the type in an answer.

``type_schema`` (or pydantic) describes a type, ``strict_schema`` makes the schema strict,
``answer_text`` reads the JSON, ``answer_value`` fits it to the schema, and ``output_type`` joins
them. ``parse`` applies them to a completion, ``tools`` to functions.
"""
