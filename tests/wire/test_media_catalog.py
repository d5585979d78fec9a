"""Laws of the media catalog and of the check of media requests."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foxapi_async._catalog.check_media import check_media
from foxapi_async._catalog.media_models import MediaModel, MediaParam, media_catalog, media_models

MODELS = media_catalog()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=4,
)
SAMPLES: dict[str | None, Any] = {
    "string": "a",
    "integer": 3,
    "number": 0.5,
    "boolean": True,
    "array": [],
    "object": {},
    None: "a",
}


def sample(rule: MediaParam) -> Any:
    """Return a value that a rule allows."""
    return rule.enum[0] if rule.enum else SAMPLES[rule.type]


def params_of(model: MediaModel) -> dict[str, Any]:
    """Return a valid value for each parameter of a model."""
    return {name: sample(rule) for name, rule in model.params.items()}


def test_the_catalog_has_the_models_of_the_service() -> None:
    """The catalog has 117 models of four kinds; a variant leads to its model."""
    kinds = [model.kind for model in MODELS]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "image": 28,
        "video": 78,
        "audio": 10,
        "document": 1,
    }
    assert media_models()["google/veo-3.1[fast]"] is media_models()["veo-3.1"]
    assert media_models()["doc2x-v3"].path == "/v1/run/generations"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_valid_values_pass_for_every_model(model: MediaModel) -> None:
    """Valid values for all parameters, or for the required ones, have no violation."""
    values = params_of(model)
    assert check_media(model.kind, model.id, values) == ()
    required = {name: values[name] for name, rule in model.params.items() if rule.required}
    assert check_media(model.kind, model.id, required) == ()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.id)
def test_each_required_parameter_must_be_given(model: MediaModel) -> None:
    """A required parameter that is absent or null is the one violation."""
    for name, rule in model.params.items():
        if rule.required:
            values = params_of(model)
            values[name] = None
            (violation,) = check_media(model.kind, model.id, values)
            assert (violation.param, violation.code) == (name, "invalid_param")


@given(model=st.sampled_from(MODELS), data=st.data())
def test_one_wrong_value_is_one_violation(model: MediaModel, data: st.DataObject) -> None:
    """A value is refused exactly if its type or its enum, by the schema, does not allow it."""
    name = data.draw(st.sampled_from(sorted(model.params)))
    rule, value = model.params[name], data.draw(JSON.filter(lambda value: value is not None))
    found = check_media(model.kind, model.id, {**params_of(model), name: value})
    kinds = {
        "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "number": isinstance(value, int | float) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "array": isinstance(value, list),
        "object": isinstance(value, dict),
        None: True,
    }
    allowed = kinds[rule.type]
    if rule.enum and not rule.models_differ:
        allowed = allowed and value in rule.enum
    if allowed and rule.items == "string" and isinstance(value, list):
        allowed = all(isinstance(item, str) for item in value)
    assert [violation.param.partition("[")[0] for violation in found] == ([] if allowed else [name])


def test_a_hint_is_no_rule() -> None:
    """Figures from descriptions, and enums where the variants differ, refuse nothing."""
    assert media_models()["gpt-image-2"].params["num_outputs"].hints == {"min": 1, "max": 10}
    assert check_media("image", "gpt-image-2", {"prompt": "a fox", "num_outputs": 99}) == ()


def test_an_unknown_model_passes_unless_the_check_is_strict() -> None:
    """A model outside the catalog has no rules; the strict check names the most similar one."""
    assert check_media("image", "gpt-image-9", {"anything": 1}) == ()
    (violation,) = check_media("image", "gpt-image-9", {}, strict=True)
    assert violation.code == "model_not_supported"
    assert "did you mean 'gpt-image-" in violation.message


def test_a_model_of_another_kind_is_refused() -> None:
    """A video model that is asked for an image is refused, because the route would be wrong."""
    (violation,) = check_media("image", "veo-3.1", {"prompt": "a fox"})
    assert violation.param == "model"
    assert "'video'" in violation.message


def test_a_misspelt_parameter_is_a_warning_and_an_unknown_one_passes() -> None:
    """A name that is almost a known one is probably meant to be it; others may be new."""
    (violation,) = check_media("image", "gpt-image-2", {"prompt": "a", "ouput_format": "png"})
    assert (violation.level, violation.code) == ("warning", "unsupported_advanced_options")
    assert "'output_format'" in violation.message
    assert check_media("image", "gpt-image-2", {"prompt": "a", "brand_new": 1}) == ()


def test_a_request_without_a_model_is_refused() -> None:
    """The model is required of every request."""
    (violation,) = check_media("image", "", {"prompt": "a"})
    assert violation.param == "model"
