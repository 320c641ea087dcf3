//! The configuration file: YAML, without anything that could run or grow.

use std::fmt;
use std::marker::PhantomData;
use std::path::Path;

use serde::Deserialize;
use serde::de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::keys::{Form, KEYS, Key, Scope, key, nearest};
use super::layer::{Item, Layer, Origin};
use super::mistake::Mistakes;

/// No configuration that people write is larger.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// What holds the tenants of a file, and what the pipelines of a tenant.
const TENANTS: &str = "tenants";
const PIPELINES: &str = "pipelines";

/// What a file says.
#[derive(Debug, Default)]
pub struct File {
    /// What stands at its top.
    pub top: Layer,
    /// Its tenants; none: it is of one pipeline.
    pub tenants: Option<Vec<Tenant>>,
}

/// What a file says of a tenant.
#[derive(Debug)]
pub struct Tenant {
    pub name: String,
    /// Where the name stands.
    pub origin: Origin,
    /// Settings of all its pipelines.
    pub layer: Layer,
    pub pipelines: Vec<Pipeline>,
}

/// What a file says of a tenant's pipeline.
#[derive(Debug)]
pub struct Pipeline {
    pub name: String,
    /// Where the name stands.
    pub origin: Origin,
    pub layer: Layer,
}

/// What the file at `path` says, which `named_by` names.
pub fn read(path: &Path, named_by: Origin, mistakes: &mut Mistakes) -> File {
    let text = match std::fs::metadata(path) {
        Ok(facts) if facts.len() > FILE_BYTES_MAX => {
            mistakes.at(named_by, format!("`{}` has more than {FILE_BYTES_MAX} bytes", path.display()));
            return File::default();
        }
        Ok(_) => std::fs::read_to_string(path),
        Err(error) => Err(error),
    };
    match text {
        Ok(text) => parse(&text, path, mistakes),
        Err(error) => {
            mistakes.at(named_by, format!("cannot read `{}`: {error}", path.display()));
            File::default()
        }
    }
}

/// What `text` says, which stands in the file at `path`.
pub fn parse(text: &str, path: &Path, mistakes: &mut Mistakes) -> File {
    // Without snippets: they would show the lines around a mistake, and one of them may be a password.
    let options = serde_saphyr::options! { with_snippet: false };
    let mut reader = Reader { path, mistakes };
    match serde_saphyr::from_str_with_options::<Option<Document>>(text, options) {
        Ok(document) => reader.file(document.unwrap_or_default()),
        Err(error) => {
            let origin = reader.place(error.location().unwrap_or(Location::UNKNOWN));
            reader.mistakes.at(origin, message(&error));
            File::default()
        }
    }
}

/// Takes a document apart, and notes what is wrong with it.
struct Reader<'a> {
    path: &'a Path,
    mistakes: &'a mut Mistakes,
}

impl Reader<'_> {
    fn place(&self, location: Location) -> Origin {
        Origin::File { path: self.path.to_owned(), line: location.line(), column: location.column() }
    }

    fn file(&mut self, document: Document) -> File {
        let has_tenants = document.0.iter().any(|(name, _)| name.value == TENANTS);
        let level = if has_tenants { Level::Top } else { Level::Only };
        let (top, tenants) = self.level(document, level);
        let tenants = tenants.into_iter().map(|(name, document)| {
            let origin = self.place(name.referenced);
            let (layer, pipelines) = self.level(document, Level::Tenant);
            if pipelines.is_empty() {
                self.mistakes.at(origin.clone(), format!("the tenant `{}` has no `{PIPELINES}`", name.value));
            }
            let pipelines = pipelines.into_iter().map(|(name, document)| Pipeline {
                origin: self.place(name.referenced),
                name: name.value,
                layer: self.level(document, Level::Pipeline).0,
            });
            Tenant { name: name.value, origin, layer, pipelines: pipelines.collect() }
        });
        let tenants = tenants.collect();
        File { top, tenants: has_tenants.then_some(tenants) }
    }

    /// The settings of a document, and what stands below it.
    fn level(&mut self, document: Document, level: Level) -> (Layer, Vec<(Spanned<String>, Document)>) {
        let (mut layer, mut below) = (Layer::default(), Vec::new());
        for (name, given) in document.0 {
            let origin = self.place(name.referenced);
            match (key(&name.value), given) {
                (None, Given::Below(documents)) if level.below() == Some(name.value.as_str()) => {
                    below = documents;
                }
                (None, Given::Map(members)) => self.group(&name.value, members, level, &mut layer),
                (None, _) => self.mistakes.at(origin, unknown(&name.value)),
                (Some(key), given) => {
                    if let Some(what) = level.refuses(key) {
                        self.mistakes.at(origin, what);
                    }
                    self.values(key, given, &mut layer);
                }
            }
        }
        (layer, below)
    }

    fn values(&self, key: &Key, given: Given, layer: &mut Layer) {
        let item = |location, name, text| Item { name, text, origin: self.place(location) };
        match given {
            Given::Text(text) => {
                if let Some(value) = text.value {
                    layer.push(key, item(text.referenced, None, value));
                }
            }
            Given::List(texts) => {
                texts.into_iter().for_each(|text| layer.push(key, item(text.referenced, None, text.value)));
            }
            Given::Map(members) => {
                for (member, text) in members {
                    let value = text.value.unwrap_or_default();
                    layer.push(key, item(member.referenced, Some(member.value), value));
                }
            }
            Given::Below(_) | Given::Unknown => {}
        }
    }

    /// The settings that stand together under `group`.
    fn group(&mut self, group: &str, members: Vec<Member>, level: Level, layer: &mut Layer) {
        for (member, text) in members {
            let full = format!("{group}.{}", member.value);
            let origin = self.place(member.referenced);
            match key(&full) {
                Some(key) => {
                    if let Some(what) = level.refuses(key) {
                        self.mistakes.at(origin, what);
                    }
                    self.values(key, Given::Text(text), layer);
                }
                None => self.mistakes.at(origin, unknown(&full)),
            }
        }
    }
}

/// Where in a file settings stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// In a file without tenants.
    Only,
    /// At the top of a file with tenants.
    Top,
    Tenant,
    Pipeline,
}

impl Level {
    /// What holds the next level.
    fn below(self) -> Option<&'static str> {
        match self {
            Level::Top => Some(TENANTS),
            Level::Tenant => Some(PIPELINES),
            Level::Only | Level::Pipeline => None,
        }
    }

    /// Why a setting does not stand here; none: it may.
    fn refuses(self, key: &Key) -> Option<String> {
        let name = key.name;
        match (key.scope, self) {
            (_, Level::Only)
            | (Scope::All | Scope::Own, _)
            | (Scope::Tenant, Level::Top | Level::Tenant)
            | (Scope::Host, Level::Top) => None,
            (Scope::Tenant, Level::Pipeline) => {
                Some(format!("`{name}` is the tenant's: put it there, or to the top for all tenants"))
            }
            (Scope::Host, _) => Some(format!("`{name}` is the process's: put it to the top")),
            (Scope::Alone, _) if name == "name" => Some(format!(
                "where there are tenants, a pipeline is named by its tenant and by its key under `{PIPELINES}`"
            )),
            (Scope::Alone, _) => {
                Some(format!("`{name}` is for one pipeline alone: choose one with --name, and use the flag"))
            }
        }
    }
}

fn unknown(name: &str) -> String {
    let groups = groups().map(|(group, _)| group).chain([TENANTS, PIPELINES]);
    match nearest(name, KEYS.iter().map(|key| key.name).chain(groups)) {
        Some(nearest) if nearest != name => format!("unknown key `{name}`: the nearest is `{nearest}`"),
        Some(_) => {
            format!("`{name}` does not stand here: `{TENANTS}` is at the top, `{PIPELINES}` in a tenant")
        }
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
    /// Documents by their names.
    Below(Vec<(Spanned<String>, Document)>),
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
                        None if [TENANTS, PIPELINES].contains(&name.value.as_str()) => Given::Below(
                            members::<_, Option<Document>>(&mut map)?
                                .into_iter()
                                .map(|(name, document)| (name, document.unwrap_or_default()))
                                .collect(),
                        ),
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

/// The map of names that stands next in `map`; empty where nothing stands.
fn members<'de, A: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut A,
) -> Result<Vec<(Spanned<String>, T)>, A::Error> {
    Ok(map.next_value::<Option<Members<T>>>()?.map_or_else(Vec::new, |members| members.0))
}

struct Members<T>(Vec<(Spanned<String>, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: de::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Pairs<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("names with values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<T>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
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
        let layer = parse(text, Path::new("p.yaml"), &mut mistakes).top;
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
            let layer = parse(&format!("user: {quoted}\n"), Path::new("p.yaml"), &mut mistakes).top;
            prop_assert!(mistakes.0.is_empty(), "{mistakes}");
            prop_assert_eq!(&layer.items("user")[0].text, &value);
        }
    }
}
