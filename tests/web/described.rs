//! The description of the interface: all of it, and nothing that leads nowhere.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Site;

/// Each route that is part of the interface.
const ROUTES: [&str; 14] = [
    "post /api/v1/renders",
    "get /api/v1/renders/{id}",
    "delete /api/v1/renders/{id}",
    "get /api/v1/renders/{id}/image",
    "get /api/v1/renders/{id}/{file}",
    "get /api/v1/renders/{id}/preview",
    "get /api/v1/events",
    "get /tiles/{request}/{z}/{x}/{y}",
    "get /",
    "get /image/{key}",
    "get /livez",
    "get /readyz",
    "get /metrics",
    "get /openapi.json",
];

/// Every value of this key, wherever it stands.
fn all<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get(key).and_then(Value::as_str));
            fields.values().for_each(|value| all(value, key, found));
        }
        Value::Array(values) => values.iter().for_each(|value| all(value, key, found)),
        _ => {}
    }
}

#[test]
fn the_description_is_whole_and_the_same_wherever_it_is_asked_for() {
    let site = Site::start();
    let served = site.gateway.get("/openapi.json");
    assert_eq!(served.header("content-type"), "application/json");
    let description = served.json();
    assert_eq!(description, serde_json::to_value(fractally_gateway::openapi()).unwrap());
    assert!(description["openapi"].as_str().unwrap().starts_with("3.1."), "{}", description["openapi"]);

    let paths = description["paths"].as_object().unwrap();
    let routes = paths.iter().flat_map(|(path, item)| {
        let methods =
            item.as_object().unwrap().keys().filter(|key| ["get", "post", "put", "patch", "delete"].contains(&key.as_str()));
        methods.map(move |method| format!("{method} {path}"))
    });
    assert_eq!(routes.collect::<BTreeSet<_>>(), ROUTES.map(str::to_owned).into());

    let (mut refs, mut ids, mut links) = (Vec::new(), Vec::new(), Vec::new());
    all(&description, "$ref", &mut refs);
    for reference in refs {
        let place = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads elsewhere"));
        assert!(description.pointer(place).is_some(), "{reference} leads nowhere");
    }
    for operation in paths.values().flat_map(|item| item.as_object().unwrap().values()) {
        ids.push(operation["operationId"].as_str().unwrap());
        all(&operation["responses"], "operationId", &mut links);
        // What any request may meet, and its name.
        for status in ["429", "503"] {
            let response = &operation["responses"][status];
            assert!(response["headers"]["Retry-After"].is_object(), "{operation}");
            assert!(response["content"]["application/problem+json"].is_object(), "{operation}");
        }
        for response in operation["responses"].as_object().unwrap().values() {
            assert!(response["headers"]["X-Request-Id"].is_object(), "{operation}");
        }
    }
    let unique: BTreeSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "{ids:?}");
    for link in links {
        assert!(unique.contains(&link), "there is no operation {link}");
    }
    // Files are no lists of numbers.
    let image = &description["paths"]["/api/v1/renders/{id}/image"]["get"]["responses"]["200"]["content"]["image/png"]["schema"];
    assert_eq!((&image["type"], &image["contentMediaType"]), (&"string".into(), &"image/png".into()));
}
