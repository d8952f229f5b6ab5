//! The JSON Schemas of the contract, generated from its types. docs/schema holds them as files; a test keeps them current.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{AppSwitched, Reply, Request, Stats, Status, Switched, TraceLine, WatchEvent};

/// Every schema, with the name of its file in docs/schema without `.json`.
pub fn schemas() -> Vec<(&'static str, Value)> {
    vec![
        ("request", without_required_params(schema::<Request>())),
        ("reply", schema::<Reply>()),
        ("status", schema::<Status>()),
        ("switched", schema::<Switched>()),
        ("app_switched", schema::<AppSwitched>()),
        ("stats", schema::<Stats>()),
        ("watch", schema::<WatchEvent>()),
        ("trace", schema::<TraceLine>()),
    ]
}

fn schema<T: JsonSchema>() -> Value {
    let mut schema = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    plain_descriptions(&mut schema);
    schema
}

/// Descriptions come from the types' documentation; rustdoc's links mean nothing to readers of a schema.
fn plain_descriptions(value: &mut Value) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(text)) = map.get_mut("description") {
                *text = text
                    .replace("[`crate::protocol::", "`")
                    .replace("[`", "`")
                    .replace("`]", "`");
            }
            map.values_mut().for_each(plain_descriptions);
        }
        Value::Array(values) => values.iter_mut().for_each(plain_descriptions),
        _ => {}
    }
}

/// The daemon takes absent `params` for empty ones, which the generator cannot know.
fn without_required_params(mut request: Value) -> Value {
    let calls = request["oneOf"].as_array_mut().into_iter().flatten();
    for required in calls.filter_map(|call| call["required"].as_array_mut()) {
        required.retain(|key| key != "params");
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    /// With `UPDATE_SCHEMAS=1`, writes the files instead.
    #[test]
    fn the_schema_files_are_current() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema");
        let mut names = BTreeSet::new();
        for (name, schema) in schemas() {
            let path = folder.join(format!("{name}.json"));
            let text = format!("{schema:#}\n");
            if std::env::var_os("UPDATE_SCHEMAS").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, &text).unwrap();
            }
            assert_eq!(
                fs::read_to_string(&path).unwrap_or_default(),
                text,
                "docs/schema/{name}.json is not current: run UPDATE_SCHEMAS=1 cargo test -p truemute schema_files"
            );
            names.insert(format!("{name}.json"));
        }
        let there: BTreeSet<String> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        assert_eq!(
            there, names,
            "docs/schema has other files than the contract"
        );
    }
}
