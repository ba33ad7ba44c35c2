"""The JSON Schema of a scenario, for editors: completion, descriptions, checks while typing."""

from __future__ import annotations

from typing import Any

from swarm.scenario.assets import ASSETS, Model
from swarm.scenario.schema import Choice, Normal, Scenario, Uniform

_REF = "#/$defs/{model}"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a scenario file.

    Besides what the models say, a fleet's `parameters` and `agents` are described for its kind:
    each parameter is a plain value or a draw. Rules between fields are not part of it.
    """
    schema = Scenario.model_json_schema(ref_template=_REF)
    definitions = schema["$defs"]
    for draw in (Uniform, Normal, Choice):
        definitions[draw.__name__] = draw.model_json_schema(ref_template=_REF)
    rules = []
    for kind, model in ASSETS.items():
        parameters = _parameters(model, definitions)
        agent_name = {"name": {"type": "string", "description": "Agent id."}}
        definitions[f"{model.__name__}Parameters"] = _mapping(model, parameters)
        definitions[f"{model.__name__}Agent"] = {
            **_mapping(model, agent_name | parameters),
            "required": ["name"],
        }
        then = {
            "parameters": {"$ref": _REF.format(model=f"{model.__name__}Parameters")},
            "agents": {"items": {"$ref": _REF.format(model=f"{model.__name__}Agent")}},
        }
        rules.append(
            {"if": {"properties": {"kind": {"const": kind}}}, "then": {"properties": then}}
        )
    definitions["Fleet"]["allOf"] = rules
    return {"$schema": _DIALECT, **schema}


def _parameters(model: type[Model], definitions: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a kind, each a plain value or a draw; nested models go to `definitions`."""
    schema = model.model_json_schema(ref_template=_REF)
    definitions.update(schema.get("$defs", {}))
    draws = [{"$ref": _REF.format(model=draw.__name__)} for draw in (Uniform, Normal, Choice)]
    described = {}
    for name, field in schema["properties"].items():
        about = {key: field[key] for key in ("title", "description", "default") if key in field}
        plain = {key: item for key, item in field.items() if key not in about}
        described[name] = {**about, "anyOf": [plain, *draws]}
    return described


def _mapping(model: type[Model], properties: dict[str, Any]) -> dict[str, Any]:
    """A mapping of just these properties."""
    return {
        "type": "object",
        "description": (model.__doc__ or "").strip(),
        "properties": properties,
        "additionalProperties": False,
    }
