"""Names of what configs describe, however the config or the code has it at hand."""

from collections.abc import Mapping
from typing import Any


def type_name(of: Any) -> str:
    """'Resize' of dict(type='mmseg.Resize'), of dict(type=Resize), of the class, its name, or a built Resize."""
    kind = of['type'] if isinstance(of, Mapping) else of if isinstance(of, (str, type)) else type(of)
    return (kind if isinstance(kind, str) else kind.__name__).rsplit('.', 1)[-1]


def loads_label(transform: Mapping[str, Any]) -> bool:
    """Whether a transform reads the label file."""
    name = type_name(transform)
    return name.startswith('Load') and 'Image' not in name
