"""The preset voices of the simulated speech models."""

from typing import Any, Final

_VOICES: Final = {
    "en": (
        ("English_calm_narrator", "Calm narrator", "male, slow"),
        ("English_bright_host", "Bright host", "female, lively"),
        ("English_young_guide", "Young guide", "female, clear"),
        ("English_deep_reader", "Deep reader", "male, low"),
    ),
    "zh": (
        ("Chinese_calm_narrator", "平静的讲述者", "男声, 缓慢"),
        ("Chinese_bright_host", "明快的主持人", "女声, 活泼"),
        ("Chinese_young_guide", "年轻的向导", "女声, 清晰"),
        ("Chinese_deep_reader", "低沉的朗读者", "男声, 低沉"),
    ),
}

LANGUAGES: Final = tuple(_VOICES)
"""The languages that have voices."""


def preset_voices(language: str) -> list[dict[str, Any]]:
    """Return the voices of a language."""
    return [
        {"voice_id": voice_id, "voice_name": name, "tag_list": tags.split(", ")}
        for voice_id, name, tags in _VOICES[language]
    ]
