//! The configuration file: YAML, without anything that could run or grow.

use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::keys::{Form, KEYS, Key, key, nearest};
use super::layer::{Item, Layer, Origin};
use super::mistake::Mistakes;

/// No configuration that people write is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The settings of the file at `path`, which `named_by` names.
pub fn layer(path: &Path, named_by: Origin, mistakes: &mut Mistakes) -> Layer {
    let text = match std::fs::metadata(path) {
        Ok(facts) if facts.len() > FILE_BYTES_MAX => {
            mistakes.at(named_by, format!("`{}` has more than {FILE_BYTES_MAX} bytes", path.display()));
            return Layer::default();
        }
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => parse(&text, path, mistakes),
        Err(error) => {
            mistakes.at(named_by, format!("cannot read `{}`: {error}", path.display()));
            Layer::default()
        }
    }
}

/// The settings in `text`, which stands in the file at `path`.
pub fn parse(text: &str, path: &Path, mistakes: &mut Mistakes) -> Layer {
    let mut layer = Layer::default();
    let place = |location: Location| Origin::File {
        path: path.to_owned(),
        line: location.line(),
        column: location.column(),
    };
    // Without snippets: they would show the lines around a mistake, and one of them may be a password.
    let options = serde_saphyr::options! { with_snippet: false };
    let document = match serde_saphyr::from_str_with_options::<Option<Document>>(text, options) {
        Ok(document) => document.unwrap_or_default(),
        Err(error) => {
            mistakes.at(place(error.location().unwrap_or(Location::UNKNOWN)), message(&error));
            return layer;
        }
    };
    for (name, given) in document.0 {
        let origin = place(name.referenced);
        let item = |location, name, text| Item { name, text, origin: place(location) };
        match (key(&name.value), given) {
            (Some(key), Given::Text(text)) => {
                if let Some(value) = text.value {
                    layer.push(key, item(text.referenced, None, value));
                }
            }
            (Some(key), Given::List(texts)) => {
                texts.into_iter().for_each(|text| layer.push(key, item(text.referenced, None, text.value)));
            }
            (Some(key), Given::Map(members)) => {
                for (member, text) in members {
                    let value = text.value.unwrap_or_default();
                    layer.push(key, item(member.referenced, Some(member.value), value));
                }
            }
            (None, Given::Map(members)) => {
                let group = &name.value;
                for (member, text) in members {
                    let full = format!("{group}.{}", member.value);
                    match (key(&full), text.value) {
                        (Some(key), Some(value)) => layer.push(key, item(text.referenced, None, value)),
                        (Some(_), None) => {}
                        (None, _) => mistakes.at(place(member.referenced), unknown(&full)),
                    }
                }
            }
            _ => mistakes.at(origin, unknown(&name.value)),
        }
    }
    layer
}

fn unknown(name: &str) -> String {
    let groups = groups().map(|(group, _)| group);
    match nearest(name, KEYS.iter().map(|key| key.name).chain(groups)) {
        Some(nearest) => format!("unknown key `{name}`: the nearest is `{nearest}`"),
        None => format!("unknown key `{name}`"),
    }
}

/// Keys that stand together under a name of their own, as in `limits.time_ms`.
fn groups() -> impl Iterator<Item = (&'static str, &'static str)> {
    KEYS.iter().filter_map(|key| key.name.split_once('.'))
}

/// The library's message without its place, in our way of writing.
fn message(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let text = text.rfind(" at line ").and_then(|end| text.get(..end)).unwrap_or(&text);
    // Advice for programmers stands behind it.
    let text = text.split(", set DuplicateKeyPolicy").next().unwrap_or(text);
    match text {
        "expected string scalar" => return "one value is expected here, not a list or a map".to_owned(),
        "expected mapping start" => return "a map is expected here, of the form `name: value`".to_owned(),
        _ => {}
    }
    let mut letters = text.trim_end_matches('.').chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// The file as it stands: names and texts with their places.
#[derive(Default)]
struct Document(Vec<(Spanned<String>, Given)>);

type Member = (Spanned<String>, Spanned<Option<String>>);

enum Given {
    Text(Spanned<Option<String>>),
    List(Vec<Spanned<String>>),
    Map(Vec<Member>),
    Unknown,
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Document;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("settings of the form `name: value`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Document, A::Error> {
                let mut document = Document::default();
                while let Some(name) = map.next_key::<Spanned<String>>()? {
                    // A scalar is asked for as text, so that `1.10` stays what was written.
                    let given = match key(&name.value).map(|Key { form, .. }| form) {
                        Some(Form::Value | Form::Switch) => Given::Text(map.next_value()?),
                        Some(Form::List) => Given::List(map.next_value::<Texts>()?.0),
                        Some(Form::Map) => Given::Map(members(&mut map)?),
                        None if groups().any(|(group, _)| group == name.value) => {
                            Given::Map(members(&mut map)?)
                        }
                        None => {
                            map.next_value::<IgnoredAny>()?;
                            Given::Unknown
                        }
                    };
                    document.0.push((name, given));
                }
                Ok(document)
            }
        }
        deserializer.deserialize_map(Names)
    }
}

/// The map of names to texts that stands next in `map`; empty where nothing stands.
fn members<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Vec<Member>, A::Error> {
    Ok(map.next_value::<Option<Members>>()?.map_or_else(Vec::new, |members| members.0))
}

struct Members(Vec<Member>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("names with values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// One text or a list of texts; none where nothing stands.
struct Texts(Vec<Spanned<String>>);

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Vec<Spanned<String>>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Vec::new())
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(vec![Spanned::new(text.to_owned(), Location::UNKNOWN, Location::UNKNOWN)])
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut texts = Vec::new();
                while let Some(text) = list.next_element()? {
                    texts.push(text);
                }
                Ok(texts)
            }
        }

        struct Placed(Vec<Spanned<String>>);
        impl<'de> Deserialize<'de> for Placed {
            fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(OneOrMore).map(Placed)
            }
        }

        // A text alone learns its place from the outside.
        let whole = Spanned::<Placed>::deserialize(deserializer)?;
        let mut texts = whole.value.0;
        for text in texts.iter_mut().filter(|text| text.referenced == Location::UNKNOWN) {
            text.referenced = whole.referenced;
        }
        Ok(Texts(texts))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> (Vec<String>, Vec<String>) {
        let mut mistakes = Mistakes::default();
        let layer = parse(text, Path::new("p.yaml"), &mut mistakes);
        let mut found = Vec::new();
        for key in KEYS {
            for item in layer.items(key.name) {
                let name = item.name.as_deref().map_or(String::new(), |name| format!("[{name}]"));
                found.push(format!("{}{name}={}@{}", key.name, item.text, item.origin));
            }
        }
        (found, mistakes.0.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn texts_lists_and_maps_are_read_with_their_places_and_as_written() {
        let (found, mistakes) = read(
            "name: 1.10\nbrokers: a:9092\ntopic:\n  - shop.public.orders\n  - '^shop\\.public\\..*$'\n\
             params:\n  rate: 1.50\n  empty:\nkafka: {security.protocol: SSL}\nlimits:\n  time_ms: 500\nprint: true\n",
        );
        assert_eq!(mistakes, Vec::<String>::new());
        assert_eq!(
            found,
            [
                "name=1.10@p.yaml:1:7",
                "params[rate]=1.50@p.yaml:7:3",
                "params[empty]=@p.yaml:8:3",
                "brokers=a:9092@p.yaml:2:10",
                "topic=shop.public.orders@p.yaml:4:5",
                "topic=^shop\\.public\\..*$@p.yaml:5:5",
                "kafka[security.protocol]=SSL@p.yaml:9:9",
                "print=true@p.yaml:12:8",
                "limits.time_ms=500@p.yaml:11:12",
            ]
        );
    }

    #[test]
    fn unknown_keys_are_all_named_with_the_nearest_name_and_the_place() {
        let (found, mistakes) =
            read("brokerz: a\nuser: shop\nlimits:\n  memory_mb: 3\ncolour_of_the_sky: {a: [1]}\n");
        assert_eq!(found, ["user=shop@p.yaml:2:7"]);
        assert_eq!(
            mistakes,
            [
                "p.yaml:1:1: unknown key `brokerz`: the nearest is `brokers`",
                "p.yaml:4:3: unknown key `limits.memory_mb`: the nearest is `limits.memory_mib`",
                "p.yaml:5:1: unknown key `colour_of_the_sky`",
            ]
        );
    }

    #[test]
    fn a_file_with_nothing_in_it_sets_nothing() {
        for text in ["", "# nothing yet\n", "---\n", "topic:\nparams:\nuser:\n"] {
            assert_eq!(read(text), (vec![], vec![]), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_settings_is_one_mistake_with_its_place() {
        let map = "a map is expected here, of the form `name: value`";
        let value = "one value is expected here, not a list or a map";
        for (text, mistake) in [
            ("- a\n- b\n", format!("p.yaml:1:1: {map}")),
            ("user: [a, b]\n", format!("p.yaml:1:7: {value}")),
            ("params: 3\n", format!("p.yaml:1:9: {map}")),
            ("params:\n  a: {b: c}\n", format!("p.yaml:2:6: {value}")),
            ("user: a\nuser: b\n", "p.yaml:2:1: duplicate mapping key: user".to_owned()),
            (
                "topic: {a: b}\n",
                "p.yaml:1:8: invalid type: map, expected a text or a list of texts".to_owned(),
            ),
            ("user: 'a\n", "p.yaml:1:7: unclosed quote".to_owned()),
        ] {
            assert_eq!(read(text).1, [mistake], "{text:?}");
        }
    }

    #[test]
    fn a_mistake_shows_no_line_of_the_file() {
        for text in ["password: hunter2\nuser: [a, b]\n", "password: [hunter2]\n", "password: 'hunter2\n"] {
            let (_, mistakes) = read(text);
            assert_eq!(mistakes.len(), 1, "{text:?}");
            assert!(!mistakes[0].contains("hunter2"), "{mistakes:?}");
        }
    }

    #[test]
    fn a_file_that_grows_when_it_is_read_is_refused() {
        let mut text = "params:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let below = level - 1;
            text.push_str(&format!(
                "  a{level}: &a{level} [{}]\n",
                vec![format!("*a{below}"); 10].join(", ")
            ));
        }
        assert_eq!(read(&text).1.len(), 1);
        assert_eq!(read(&format!("params: {}{}\n", "[".repeat(10_000), "]".repeat(10_000))).1.len(), 1);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z:\\[\\]{}&*!'\"| \\n#-]{0,80}") {
            read(&text);
        }

        #[test]
        fn any_text_in_quotes_comes_back(value in "\\PC{1,40}") {
            let quoted = serde_json::to_string(&value).unwrap();
            let mut mistakes = Mistakes::default();
            let layer = parse(&format!("user: {quoted}\n"), Path::new("p.yaml"), &mut mistakes);
            prop_assert!(mistakes.0.is_empty(), "{mistakes}");
            prop_assert_eq!(&layer.items("user")[0].text, &value);
        }
    }
}
