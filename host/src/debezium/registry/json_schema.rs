//! JSON Schema: a record's JSON stays as it is, and its schema says what the columns mean.

use serde_json::{Value as Tree, json};

use crate::debezium::schema::{self, ValueSchema};

/// How deep a schema is looked into: arrays, maps, choices, references.
const MAX_DEPTH: u32 = 64;

/// Reads a schema; `references` are those that it refers to, by the names that it has for them.
pub(super) fn parse(text: &str, references: &[(String, String)]) -> Result<ValueSchema, String> {
    let read = |text: &str| {
        serde_json::from_str::<Tree>(text).map_err(|error| format!("the schema is no json: {error}"))
    };
    let documents = references.iter().map(|(name, text)| Ok((name.as_str(), read(text)?)));
    let documents: Vec<(&str, Tree)> = documents.collect::<Result<_, String>>()?;
    let root = read(text)?;
    let reader = Reader { documents: &documents };
    let place = reader.place(Place { document: &root, tree: &root })?;
    let mut tree = reader.connect(place, 0)?;
    let mut fields = Vec::new();
    for (name, field) in reader.members(place) {
        let mut field_tree = reader.connect(field, 0)?;
        if matches!(name, "before" | "after") {
            let row = reader.place(field)?;
            let mut columns = Vec::new();
            for (name, column) in reader.members(row) {
                let mut tree = reader.connect(column, 0)?;
                tree["field"] = name.into();
                // What need not be there may be null.
                if let Some(required) = row.tree.get("required").and_then(Tree::as_array)
                    && !required.iter().any(|required| required == name)
                {
                    tree["optional"] = true.into();
                }
                columns.push(tree);
            }
            field_tree["fields"] = columns.into();
        }
        field_tree["field"] = name.into();
        fields.push(field_tree);
    }
    tree["fields"] = fields.into();
    Ok(schema::of_tree(&tree))
}

struct Reader<'a> {
    documents: &'a [(&'a str, Tree)],
}

/// A part of a schema, and the document whose definitions it means.
#[derive(Clone, Copy)]
struct Place<'a> {
    document: &'a Tree,
    tree: &'a Tree,
}

impl<'a> Place<'a> {
    fn at(self, tree: &'a Tree) -> Place<'a> {
        Place { document: self.document, tree }
    }

    fn text(self, member: &str) -> &'a str {
        self.tree.get(member).and_then(Tree::as_str).unwrap_or_default()
    }
}

impl<'a> Reader<'a> {
    /// What is meant: after references, and what is not null of a choice.
    fn place(&self, mut place: Place<'a>) -> Result<Place<'a>, String> {
        for _ in 0..MAX_DEPTH {
            place = if let Some(to) = place.tree.get("$ref").and_then(Tree::as_str) {
                self.referred(place, to)?
            } else if let Some(one) = self.only_choice(place) {
                one
            } else {
                return Ok(place);
            };
        }
        Err(format!("references deeper than {MAX_DEPTH}"))
    }

    fn referred(&self, from: Place<'a>, to: &str) -> Result<Place<'a>, String> {
        let (document, pointer) = to.split_once('#').unwrap_or((to, ""));
        let document = match document {
            "" => Some(from.document),
            name => self.documents.iter().find(|(known, _)| *known == name).map(|(_, document)| document),
        };
        let found = document.and_then(|document| Some(Place { document, tree: document.pointer(pointer)? }));
        found.ok_or_else(|| {
            format!("it refers to `{}`, which is nowhere", to.chars().take(100).collect::<String>())
        })
    }

    /// The choice that is not null, where there is just one.
    fn only_choice(&self, place: Place<'a>) -> Option<Place<'a>> {
        let mut choices = choices(place)?.filter(|choice| !is_null(choice));
        let first = choices.next()?;
        choices.next().is_none().then_some(place.at(first))
    }

    fn members(&self, place: Place<'a>) -> Vec<(&'a str, Place<'a>)> {
        let members = place.tree.get("properties").and_then(Tree::as_object);
        let mut members: Vec<_> =
            members.into_iter().flatten().map(|(name, tree)| (name.as_str(), place.at(tree))).collect();
        // Kafka Connect says in which order they are; otherwise it is the text's.
        members.sort_by_key(|(_, member)| self.index(*member));
        members
    }

    fn index(&self, member: Place<'a>) -> i64 {
        let of = |tree: &Tree| tree.get("connect.index").and_then(Tree::as_i64);
        let chosen = || of(self.place(member).ok()?.tree);
        of(member.tree).or_else(chosen).unwrap_or(i64::MAX)
    }

    /// A type as `JsonConverter` would write it, without the fields that it may have.
    fn connect(&self, given: Place<'a>, depth: u32) -> Result<Tree, String> {
        if depth > MAX_DEPTH {
            return Ok(json!({"type": "struct"}));
        }
        let place = self.place(given)?;
        let items = |member: &str| match place.tree.get(member) {
            Some(tree) if tree.is_object() => self.connect(place.at(tree), depth + 1),
            _ => Ok(json!({"type": "struct"})),
        };
        let ty = types(place.tree).find(|ty| *ty != "null").unwrap_or_default();
        let mut tree = match (ty, place.text("connect.type")) {
            ("integer", ty @ ("int8" | "int16" | "int32" | "int64")) => json!({"type": ty}),
            ("integer", _) => json!({"type": "int64"}),
            ("number", "float32") => json!({"type": "float"}),
            ("string" | "number", "bytes") => json!({"type": "bytes"}),
            ("number", _) => json!({"type": "double"}),
            ("boolean", _) => json!({"type": "boolean"}),
            ("string", _) => json!({"type": "string"}),
            ("object", "map") => {
                json!({"type": "map", "keys": {"type": "string"}, "values": items("additionalProperties")?})
            }
            // Its elements are objects of key and value.
            ("array", "map") => json!({"type": "struct"}),
            ("array", _) => json!({"type": "array", "items": items("items")?}),
            _ => json!({"type": "struct"}),
        };
        tree["optional"] = (may_be_null(given.tree) || may_be_null(place.tree)).into();
        if !place.text("title").is_empty() {
            tree["name"] = place.text("title").into();
        }
        if let Some(parameters) = place.tree.get("connect.parameters") {
            tree["parameters"] = parameters.clone();
        }
        Ok(tree)
    }
}

fn types(tree: &Tree) -> impl Iterator<Item = &str> {
    let given = tree.get("type");
    let list = given.and_then(Tree::as_array).map_or(&[][..], Vec::as_slice);
    given.and_then(Tree::as_str).into_iter().chain(list.iter().filter_map(Tree::as_str))
}

fn choices(place: Place<'_>) -> Option<impl Iterator<Item = &Tree>> {
    let list = ["oneOf", "anyOf"].iter().find_map(|member| place.tree.get(member)?.as_array());
    list.map(|list| list.iter())
}

fn is_null(tree: &Tree) -> bool {
    tree.get("type").and_then(Tree::as_str) == Some("null")
}

fn may_be_null(tree: &Tree) -> bool {
    let place = Place { document: tree, tree };
    types(tree).any(|ty| ty == "null") || choices(place).is_some_and(|mut choices| choices.any(is_null))
}
