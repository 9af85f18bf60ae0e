//! The response to a request that a limit makes wait, as a document says it.

use serde_json::{Map as Entries, Value, json};

use super::notes::Notes;
use super::operations::Operation;
use super::tree::{Document, Map, Node};
use super::wishes::Wishes;
use crate::policy::{PlainBody, PlainHeader, PlainRefusal};

/// Writes an operation's responses to what is refused.
pub(super) struct Response<'a, 'd> {
    pub(super) document: &'d Document<'d>,
    pub(super) operation: &'a Operation<'d>,
    pub(super) wishes: &'a mut Wishes<'d>,
    pub(super) notes: &'a mut Notes,
}

/// What an export adds to a map that has it not, beside statuses and the headers themselves.
pub(super) const ADDED: [&str; 5] = ["responses", "headers", "content", "schema", "examples"];

impl<'d> Response<'_, 'd> {
    /// Wishes for each refusal a response that has its headers and a body. What a response says
    /// already stays.
    pub(super) fn write(&mut self, refusals: &[PlainRefusal]) {
        if refusals.is_empty() {
            return;
        }
        let Some((node, map)) = self.editable(self.operation.node) else {
            return;
        };
        let Some(responses) = self.present(map, "responses") else {
            let all = refusals.iter();
            let all = all.map(|refusal| (refusal.status.to_string(), self.whole(refusal)));
            let all = Value::Object(all.collect());
            self.want(node, map, "responses", all);
            return;
        };
        let Some((responses, map)) = self.editable(responses) else {
            return;
        };
        for refusal in refusals {
            let status = refusal.status.to_string();
            match self.present(map, &status) {
                None => {
                    let whole = self.whole(refusal);
                    self.want(responses, map, &status, whole);
                }
                Some(response) => self.complete(response, refusal),
            }
        }
    }

    /// Wishes what a response lacks.
    fn complete(&mut self, response: &'d Node, refusal: &PlainRefusal) {
        let Some((response, map)) = self.editable(response) else {
            return;
        };
        match self.present(map, "headers") {
            None if refusal.headers.is_empty() => {}
            None => {
                let headers = Value::Object(self.headers(refusal));
                self.want(response, map, "headers", headers);
            }
            Some(headers) => {
                let Some((headers, map)) = self.editable(headers) else {
                    return;
                };
                for (name, value) in self.headers(refusal) {
                    let same = |(key, _): &(Node, Node)| {
                        key.text()
                            .is_some_and(|key| key.eq_ignore_ascii_case(&name))
                    };
                    if !map.entries.iter().any(same) {
                        self.want(headers, map, &name, value);
                    }
                }
            }
        }
        let body = self.body(refusal);
        let keys = ["content", "schema", "examples"];
        if keys.iter().all(|key| self.present(map, key).is_none()) {
            for (key, value) in body {
                self.want(response, map, &key, value);
            }
        }
    }

    fn want(&mut self, node: &'d Node, map: &'d Map, key: &str, value: Value) {
        if !self.wishes.want(node, map, key, Some(value)) {
            let why = format!("others that say something else share its `{key}`: not edited");
            self.notes.push(self.operation.left_out(node, why));
        }
    }

    /// The value of an entry that is there.
    fn present(&self, map: &'d Map, key: &str) -> Option<&'d Node> {
        let entry = self.document.entry(map, key);
        entry
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    /// The map that `node` stands for.
    fn editable(&mut self, node: &'d Node) -> Option<(&'d Node, &'d Map)> {
        let found = self.document.resolve(node);
        let found = found.and_then(|node| match node.map() {
            Some(map) => Ok((node, map)),
            None => Err((node, "it is no map".to_owned())),
        });
        match found {
            Ok(found) => Some(found),
            Err((node, why)) => {
                let why = format!("{why}: its response is not edited");
                self.notes.push(self.operation.left_out(node, why));
                None
            }
        }
    }

    /// A response of which nothing is there yet.
    fn whole(&self, refusal: &PlainRefusal) -> Value {
        let description = called(refusal.status);
        let mut whole = Entries::new();
        whole.insert("description".into(), description.into());
        if !refusal.headers.is_empty() {
            whole.insert("headers".into(), Value::Object(self.headers(refusal)));
        }
        whole.extend(self.body(refusal));
        Value::Object(whole)
    }

    fn is_swagger(&self) -> bool {
        let root = self.document.root.map();
        root.is_some_and(|root| self.document.entry(root, "swagger").is_some())
    }

    /// Headers as the document's version of OpenAPI has them.
    fn headers(&self, refusal: &PlainRefusal) -> Entries<String, Value> {
        let is_swagger = self.is_swagger();
        let header = |header: &PlainHeader| {
            let kind = if header.is_number {
                "integer"
            } else {
                "string"
            };
            let value = match is_swagger {
                true => json!({ "description": header.what, "type": kind }),
                false => json!({ "description": header.what, "schema": { "type": kind } }),
            };
            (header.name.clone(), value)
        };
        refusal.headers.iter().map(header).collect()
    }

    /// Bodies, by media type: `content`, or before OpenAPI 3 `schema` and `examples`.
    fn body(&self, refusal: &PlainRefusal) -> Entries<String, Value> {
        let mut by_type: Vec<(&str, Vec<Body<'_>>)> = Vec::new();
        for body in &refusal.bodies {
            let own = Body::of(body);
            match by_type
                .iter_mut()
                .find(|(kind, _)| *kind == body.content_type)
            {
                Some((_, bodies)) => bodies.push(own),
                None => by_type.push((&body.content_type, vec![own])),
            }
        }
        let mut entries = Entries::new();
        if self.is_swagger() {
            // It has one schema, and one example of each media type.
            let first = by_type
                .iter()
                .filter_map(|(kind, bodies)| Some((*kind, bodies.first()?)));
            let mut examples = Entries::new();
            for (kind, body) in first {
                entries
                    .entry("schema")
                    .or_insert_with(|| body.schema.clone());
                examples.insert(kind.to_owned(), body.example.clone());
            }
            if !examples.is_empty() {
                entries.insert("examples".into(), Value::Object(examples));
            }
        } else {
            let content = by_type.into_iter();
            let content = content.map(|(kind, bodies)| (kind.to_owned(), media(&bodies)));
            entries.insert("content".into(), Value::Object(content.collect()));
        }
        entries
    }
}

/// A body that one of the limits fills.
struct Body<'p> {
    limit: &'p str,
    example: Value,
    schema: Value,
}

impl<'p> Body<'p> {
    fn of(body: &'p PlainBody) -> Self {
        let is_json = body.content_type.contains("json");
        let value = is_json
            .then(|| serde_json::from_str(&body.text).ok())
            .flatten();
        let example = value.unwrap_or_else(|| Value::from(&*body.text));
        Self {
            limit: &body.limit,
            schema: schema(&example),
            example,
        }
    }
}

/// All bodies of one media type.
fn media(bodies: &[Body<'_>]) -> Value {
    let mut schemas: Vec<&Value> = Vec::new();
    for body in bodies {
        if !schemas.contains(&&body.schema) {
            schemas.push(&body.schema);
        }
    }
    let schema = match &schemas[..] {
        [one] => (*one).clone(),
        several => json!({ "oneOf": several }),
    };
    match bodies {
        [one] => json!({ "schema": schema, "example": one.example }),
        several => {
            let examples = several.iter();
            let examples = examples
                .map(|body| (body.limit.to_owned(), json!({ "value": body.example })))
                .collect();
            json!({ "schema": schema, "examples": Value::Object(examples) })
        }
    }
}

/// What `value` is an example of.
fn schema(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(_) => json!({ "type": "boolean" }),
        Value::Number(number) if number.is_f64() => json!({ "type": "number" }),
        Value::Number(_) => json!({ "type": "integer" }),
        Value::String(_) => json!({ "type": "string" }),
        Value::Array(items) => {
            let items = items.first().map_or_else(|| json!({}), schema);
            json!({ "type": "array", "items": items })
        }
        Value::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), schema(value)));
            json!({ "type": "object", "properties": Value::Object(entries.collect()) })
        }
    }
}

/// What a status is called.
fn called(status: u16) -> &'static str {
    match status {
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Refused by a limit",
    }
}
