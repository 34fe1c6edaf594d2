//! As much of JSON Schema as the description of the API uses, to hold answers against it.

use serde_json::Value;

/// What is wrong with `value`; nothing, if it is as `schema` says.
pub fn mistakes(api: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let known = [
        "type",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "oneOf",
        "enum",
        "$ref",
        "description",
        "default",
        "format",
        "minItems",
        "maxItems",
        "minimum",
    ];
    let schema_keys = schema.as_object().unwrap();
    if let Some(key) = schema_keys.keys().find(|key| !known.contains(&key.as_str())) {
        return vec![format!(
            "{place}: the description uses `{key}`, which is not looked at here"
        )];
    }
    if let Some(name) = schema["$ref"].as_str() {
        let schema = api
            .pointer(name.trim_start_matches('#'))
            .unwrap_or_else(|| panic!("{name} is nowhere"));
        return mistakes(api, schema, value, place);
    }
    if let Some(several) = schema["oneOf"].as_array() {
        let found: Vec<Vec<String>> = several
            .iter()
            .map(|schema| mistakes(api, schema, value, place))
            .collect();
        return match found.iter().any(Vec::is_empty) {
            true => Vec::new(),
            false => found.into_iter().flatten().collect(),
        };
    }
    let fits = match schema["type"].as_str() {
        None => true,
        Some("null") => value.is_null(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => panic!("{other}"),
    };
    if !fits {
        return vec![format!("{place}: {value} is no {}", schema["type"])];
    }
    let mut wrong = Vec::new();
    if let Some(values) = schema["enum"].as_array()
        && !values.contains(value)
    {
        wrong.push(format!("{place}: {value} is not one of {values:?}"));
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        let each = (0..)
            .zip(items)
            .flat_map(|(index, item): (usize, _)| mistakes(api, schema, item, &format!("{place}/{index}")));
        wrong.extend(each);
    }
    if let Some(object) = value.as_object() {
        for key in schema["required"].as_array().into_iter().flatten() {
            if !object.contains_key(key.as_str().unwrap()) {
                wrong.push(format!("{place}: {key} is missing"));
            }
        }
        for (key, value) in object {
            let place = format!("{place}/{key}");
            match (schema["properties"].get(key), schema.get("additionalProperties")) {
                (Some(schema), _) => wrong.extend(mistakes(api, schema, value, &place)),
                (None, Some(Value::Bool(false))) => wrong.push(format!("{place} is not described")),
                (None, Some(schema @ Value::Object(_))) => wrong.extend(mistakes(api, schema, value, &place)),
                (None, _) => {}
            }
        }
    }
    wrong
}
