//! From merged texts to [`Settings`]: every text is read, and what does not go together is found.

use super::keys::{EXCLUSIVE, key};
use super::layer::{Item, Layer, Origin};
use super::mistake::Mistakes;
use super::values::{self, Read};
use super::{
    Admin, Audit, BatchLimits, Bounds, Budget, ClickHouse, Component, Credentials, DeadLetters, Deciding,
    GroupProtocol, Kafka, Loaded, Options, Policies, Registry, SandboxLimits, Settings, Sink, Source,
    Surroundings, Tables, TopicPattern, Truncate, kafka, secret, tables,
};
use crate::debezium::hints::Hints;
use crate::debezium::placeholder::Placeholder;
use crate::oci::Remote;
use crate::oci::reference::{self, Reference};
use crate::origin::{self, Key, Policy};
use secret::{Named, Secret};
use tables::Pattern;

/// Reads `merged`, the settings of all layers.
pub fn settings(
    merged: Layer,
    surroundings: &Surroundings,
    mistakes: Mistakes,
    warnings: Vec<String>,
) -> Result<Loaded, Mistakes> {
    let mut check = Check { merged, mistakes, warnings };
    for (one, other) in EXCLUSIVE {
        check.one_of_both(one, other);
    }

    let name = check.value("name", values::name).unwrap_or_default();
    let tables = Tables::new(check.list("tables", Pattern::parse));
    let sink = check.sink(&tables);
    let source = check.source(&name);
    let registry = check.registry();
    let to_lines = matches!(sink, Some(Sink::Lines { .. }));
    let dead_letters = check.dead_letters(to_lines, source.as_ref(), &tables);
    let audit = check.audit(to_lines);
    let schema_changes = check.value("schema_changes", values::schema_changes).unwrap_or_default();
    let truncate = check.truncate(to_lines);
    let bounds = Bounds {
        for_: check.value("for", values::duration),
        max_records: check.value("max_records", |text| values::number(text, 1, u64::MAX)),
        until_caught_up: check.value("until_caught_up", values::switch).unwrap_or_default(),
    };
    let bounded = bounds.any() || matches!(source, Some(Source::Lines { .. }));
    check.follows(
        "show_last",
        if bounded && surroundings.stdout_is_terminal && !to_lines { "10" } else { "0" },
    );
    let batch = BatchLimits {
        rows: check.number("batch_rows", 1, 500_000),
        bytes: check.number("batch_bytes", 1 << 10, 64 << 20),
        linger_ms: check.number("linger_ms", 1, 60_000),
    };
    let limits = check.limits();
    let budget = check.budget(&limits);
    let records = check.records();
    let transform = check.component();
    let watch = check.watch(matches!(transform, Component::File(_)));
    let origin = check.origin(&transform, &name);
    let params = check.named("params", |_, _| None);
    let state_dir = check.value("state_dir", values::file);
    let pin = check.value("pin", values::pin).unwrap_or_default();
    let policies = check.policies();
    let log_values = check.value("log_values", values::switch).unwrap_or_default();
    let print = check.value("print", values::switch).unwrap_or_default();
    let show_last = check.value("show_last", |text| values::number(text, 0, 10_000)).unwrap_or_default();
    let dry_run = check.value("dry_run", values::switch).unwrap_or_default();
    let log_format = check.value("log_format", values::log_format).unwrap_or_default();
    let admin = check.admin();
    check.files_apart(source.as_ref(), sink.as_ref(), &dead_letters);

    let Check { merged: resolved, mistakes, warnings } = check;
    // Neither is none without a mistake.
    let (Some(source), Some(sink), []) = (source, sink, mistakes.0.as_slice()) else { return Err(mistakes) };
    let settings = Settings {
        name,
        tenant: None,
        source,
        registry,
        records,
        transform,
        watch,
        origin,
        compiler: surroundings.compiler,
        params,
        state_dir,
        pin,
        deciding: Deciding::of(&resolved),
        sink,
        dead_letters,
        audit,
        truncate,
        schema_changes,
        bounds,
        batch,
        limits,
        tables,
        budget,
        policies,
        log_values,
        print,
        show_last,
        dry_run,
        log_format,
        admin,
    };
    Ok(Loaded { settings, resolved, warnings })
}

/// `now`, but for the settings that decide rows: these as they were `then`.
///
/// # Errors
/// What this host does not understand, or cannot do with the rest of its settings.
pub fn as_sealed(now: &Settings, then: &Deciding) -> Result<Settings, Mistakes> {
    let (mut mistakes, warnings) = (Mistakes::default(), Vec::new());
    let merged = then.layer().unwrap_or_else(|name| {
        mistakes.of(&name, Origin::Default, "this host does not know the setting");
        Layer::default()
    });
    let mut check = Check { merged, mistakes, warnings };
    let mut settings = now.clone();
    settings.params = check.named("params", |_, _| None);
    settings.records = check.records();
    settings.policies = check.policies();
    settings.limits = check.limits();
    if let Sink::ClickHouse(sink) = &mut settings.sink {
        sink.table = check.value("table", values::foreign_name);
    }
    let framing = check.value("registry.framing", values::framing);
    match (&mut settings.registry, framing) {
        (Some(registry), Some(framing)) => registry.framing = framing,
        (None, Some(_)) => {
            check.mistakes.of(
                "registry.url",
                Origin::Default,
                "there was a schema registry, and now is none",
            );
        }
        (_, None) => settings.registry = None,
    }
    settings.deciding = then.clone();
    if check.mistakes.0.is_empty() { Ok(settings) } else { Err(check.mistakes) }
}

fn read_file(text: &str) -> Read<String> {
    let path = values::file(text)?;
    std::fs::read_to_string(&path).map_err(|error| format!("cannot read `{}`: {error}", path.display()))
}

struct Check {
    merged: Layer,
    mistakes: Mistakes,
    warnings: Vec<String>,
}

impl Check {
    /// The meaning of a value; none where it is not set or makes no sense, which is noted then.
    fn value<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Option<T> {
        let item = self.merged.items(name).last()?;
        match read(&item.text) {
            Ok(value) => Some(value),
            Err(what) => {
                self.mistakes.of(name, item.origin.clone(), what);
                None
            }
        }
    }

    fn number(&mut self, name: &str, least: u32, most: u32) -> u32 {
        self.value(name, |text| values::number(text, least, most)).unwrap_or_default()
    }

    /// The meanings of a list's members.
    fn list<T>(&mut self, name: &str, read: impl Fn(&str) -> Read<T>) -> Vec<T> {
        let mut found = Vec::new();
        for item in self.merged.items(name) {
            match read(&item.text) {
                Ok(value) => found.push(value),
                Err(what) => self.mistakes.of(name, item.origin.clone(), what),
            }
        }
        found
    }

    /// A map, each of whose members may be a mistake.
    fn named(&mut self, name: &str, mistake: impl Fn(&str, &str) -> Option<String>) -> Named {
        let mut found: Vec<(String, String)> = Vec::new();
        for Item { name: member, text, origin } in self.merged.items(name) {
            let member = member.as_deref().unwrap_or_default();
            if let Some(what) = mistake(member, text) {
                self.mistakes.of(name, origin.clone(), what);
            } else if found.iter().any(|(known, _)| known == member) {
                self.mistakes.of(name, origin.clone(), format!("`{member}` is given twice"));
            } else {
                found.push((member.to_owned(), text.clone()));
            }
        }
        Named(found)
    }

    fn limits(&mut self) -> SandboxLimits {
        let profile = self.value("limits.profile", values::sandbox_profile).unwrap_or_default();
        let limits = SandboxLimits::of(profile);
        let rows_of_change =
            self.value("budget.rows_per_change", |text| values::number(text, 1, limits.rows_of_change));
        SandboxLimits {
            memory_mib: self.number("limits.memory_mib", 1, 4096),
            fuel_per_change: self
                .value("limits.fuel_per_change", |text| values::number(text, 1, u64::MAX >> 20))
                .unwrap_or_default(),
            time_ms: self.number("limits.time_ms", 1, 600_000),
            rows_of_change: rows_of_change.unwrap_or(limits.rows_of_change),
            ..limits
        }
    }

    fn budget(&mut self, limits: &SandboxLimits) -> Budget {
        let memory_mib = self.tenant_memory_mib(limits);
        let mut count = |name| self.value(name, |text| values::number(text, 1, u64::MAX >> 20));
        Budget {
            fuel_per_second: count("budget.fuel_per_second"),
            rows_per_second: count("budget.rows_per_second"),
            columns_per_hour: count("budget.columns_per_hour"),
            memory_mib,
        }
    }

    /// What a tenant has must be enough for one instance, which else would wait for ever.
    fn tenant_memory_mib(&mut self, limits: &SandboxLimits) -> Option<u32> {
        const NAME: &str = "budget.memory_mib";
        let most = self.value(NAME, |text| values::number(text, 1, 1 << 20))?;
        let of_one = limits.memory_mib;
        if most < of_one {
            let what = format!("{most} is less than one instance may have, {of_one} (`limits.memory_mib`)");
            let origin = self.merged.items(NAME).last().map_or(Origin::Default, |item| item.origin.clone());
            self.mistakes.of(NAME, origin, what);
        }
        Some(most)
    }

    fn policies(&mut self) -> Policies {
        let columns = self.named("out_of_range_columns", |column, policy| match column {
            "" => Some("a column has no name".to_owned()),
            _ => values::out_of_range(policy).err(),
        });
        let columns = columns.0.into_iter();
        Policies {
            out_of_range: self.value("out_of_range", values::out_of_range).unwrap_or_default(),
            columns: columns
                .filter_map(|(column, policy)| Some((column, values::out_of_range(&policy).ok()?)))
                .collect(),
            unavailable: self.value("unavailable", values::unavailable).unwrap_or_default(),
        }
    }

    /// How records are to be read.
    fn records(&mut self) -> Options {
        let mut hints = Hints::default();
        for Item { name, text, origin } in self.merged.items("columns") {
            let pattern = name.as_deref().unwrap_or_default();
            if let Err(what) = hints.add(pattern, text) {
                self.mistakes.of("columns", origin.clone(), format!("`{pattern}`: {what}"));
            }
        }
        Options {
            hints,
            placeholder: self.value("unavailable_placeholder", Placeholder::parse).unwrap_or_default(),
            flattened_prefix: self.value("flattened_prefix", values::prefix).unwrap_or_default(),
            flattened_headers: self.value("flattened_headers", values::switch).unwrap_or_default(),
            tombstones: self.value("tombstones", values::tombstones).unwrap_or_default(),
        }
    }

    /// Where the transform is. The built-in one also where what is said of another is wrong, which is noted then.
    fn component(&mut self) -> Component {
        let is_remote = |item: &Item| item.text.starts_with(reference::SCHEME);
        if self.merged.items("transform").last().is_some_and(is_remote) {
            let remote =
                self.value("transform", Reference::parse).and_then(|reference| self.remote(reference));
            return remote.map_or_else(Component::default, |remote| Component::Registry(Box::new(remote)));
        }
        self.forget(&["oci.user", "oci.password", "oci.password_file", "oci.ca_file", "oci.plain_http"]);
        self.value("transform", values::file).map_or_else(Component::default, Component::File)
    }

    fn remote(&mut self, reference: Reference) -> Option<Remote> {
        let is_local = reference.root(false).is_ok_and(|root| reference::is_local(&root));
        self.follows("oci.plain_http", if is_local { "true" } else { "false" });
        let plain_http = self.value("oci.plain_http", values::switch);
        let root = reference.root(plain_http.unwrap_or_default()).ok();
        let ca = self.certificates("oci.ca_file");
        let credentials = self.credentials("oci");
        Some(Remote { reference, root: root?, credentials: credentials?, ca })
    }

    /// What the transform must be; a file of it has to be named where it must be signed.
    fn origin(&mut self, transform: &Component, pipeline: &str) -> Policy {
        let digest = self.value("transform_digest", origin::parse_digest);
        let keys = self.list("transform_key", Key::parse);
        let place =
            |check: &Self, name: &str| check.merged.items(name).last().map(|item| item.origin.clone());
        let unsigned = match transform {
            Component::BuiltIn => {
                Some("the transform that is built in has no signature: set `transform` too")
            }
            Component::File(_) => None,
            Component::Registry(_) => Some(
                "no signature is looked for in a registry: leave it out, since the reference names the one component that \
                 may run, or fetch the component and its signature as files",
            ),
        };
        match (place(self, "transform_key"), place(self, "transform_name"), unsigned) {
            (Some(place), _, Some(what)) => self.mistakes.of("transform_key", place, what),
            (None, Some(place), _) => {
                let what = "nothing says who must have signed it: set `transform_key` too";
                self.mistakes.of("transform_name", place, what);
            }
            (Some(_), None, None) => self.follows("transform_name", pipeline),
            _ => {}
        }
        let name = self.value("transform_name", values::foreign_name);
        Policy { digest, keys, name, at_least: None }
    }

    /// Sets `name` where nobody did.
    fn follows(&mut self, name: &str, text: &str) {
        if let (false, Some(key)) = (self.merged.has(name), key(name)) {
            self.merged.push(key, Item { name: None, text: text.to_owned(), origin: Origin::Default });
        }
    }

    /// Of two settings that exclude each other the one of the higher layer stays. In the same layer both
    /// are a mistake.
    fn one_of_both(&mut self, one: &str, other: &str) {
        let place = |name| self.merged.items(name).first().map(|item| item.origin.clone());
        let (Some(here), Some(there)) = (place(one), place(other)) else { return };
        match here.rank().cmp(&there.rank()) {
            std::cmp::Ordering::Less => self.merged.remove(one),
            std::cmp::Ordering::Greater => self.merged.remove(other),
            std::cmp::Ordering::Equal => {
                let what = format!(
                    "`{one}` and `{other}` exclude each other, and {there} sets the other: leave one out"
                );
                self.mistakes.of(one, here, what);
            }
        }
    }

    fn forget(&mut self, names: &[&str]) {
        names.iter().for_each(|name| self.merged.remove(name));
    }

    fn source(&mut self, name: &str) -> Option<Source> {
        if self.merged.has("input") {
            self.forget(&[
                "topic",
                "brokers",
                "group",
                "group_protocol",
                "kafka",
                "start",
                "inserts_per_second",
            ]);
            return self.value("input", values::path).map(|path| Source::Lines { path });
        }
        self.follows("group", &format!("rowgate-{name}"));
        let properties = self.named("kafka", kafka::mistake);
        let unchecked = |(name, value): &(String, String)| {
            name == "enable.ssl.certificate.verification" && value.eq_ignore_ascii_case("false")
        };
        if properties.0.iter().any(unchecked) {
            self.warnings.push("kafka: the brokers' certificates are not verified".to_owned());
        }
        // All are read before the first that is missing ends it, so that no mistake hides another.
        let brokers = self.list("brokers", values::brokers).into_iter().flatten().collect();
        let brokers = self.some("brokers", brokers);
        let topics = self.list("topic", values::topic);
        let topics = self.some("topic", topics);
        let group = self.value("group", values::foreign_name);
        let start = self.value("start", values::start);
        let protocol = self.value("group_protocol", values::group_protocol);
        if protocol == Some(GroupProtocol::Consumer) {
            self.only_classic();
        }
        let inserts_per_second = self.number("inserts_per_second", 1, 10_000);
        Some(Source::Kafka(Kafka {
            brokers: brokers?,
            topics: topics?,
            group: group?,
            properties,
            protocol: protocol?,
            start: start?,
            inserts_per_second,
        }))
    }

    /// Refuses properties that mean nothing where the brokers decide.
    fn only_classic(&mut self) {
        for Item { name, origin, .. } in self.merged.items("kafka") {
            let name = name.as_deref().unwrap_or_default();
            if let Some((_, reason)) = kafka::ONLY_CLASSIC.iter().find(|(refused, _)| *refused == name) {
                let what = format!("`{name}` cannot be set with `group_protocol: consumer`: {reason}");
                self.mistakes.of("kafka", origin.clone(), what);
            }
        }
    }

    /// A list that must not be empty.
    fn some<T>(&mut self, name: &str, list: Vec<T>) -> Option<Vec<T>> {
        if list.is_empty() && self.merged.items(name).is_empty() {
            self.mistakes.of(name, Origin::Default, "none is given");
        }
        (!list.is_empty()).then_some(list)
    }

    fn sink(&mut self, tables: &Tables) -> Option<Sink> {
        if self.merged.has("output") {
            self.forget(&[
                "clickhouse_url",
                "database",
                "user",
                "password",
                "password_file",
                "table",
                "compression",
                "schema_changes",
            ]);
            return self.value("output", values::path).map(|path| Sink::Lines { path });
        }
        let url = self.value("clickhouse_url", values::url);
        if let Some(port @ (9000 | 9440)) = url.as_ref().and_then(reqwest::Url::port) {
            self.warnings.push(format!(
                "clickhouse_url: {port} is usually the port of the native protocol; the HTTP interface has 8123 or 8443"
            ));
        }
        let password = self.password();
        let password_file = self.merged.items("password_file").last().map(|item| item.text.clone().into());
        let database = self.value("database", values::foreign_name);
        let user = self.value("user", values::foreign_name);
        let table = self.value("table", |text| {
            let name = values::foreign_name(text)?;
            tables.check(&name).map(|()| name)
        });
        let compression = self.value("compression", values::compression);
        Some(Sink::ClickHouse(ClickHouse {
            url: url?,
            database: database?,
            user: user?,
            password: password?,
            password_file,
            table,
            compression: compression?,
        }))
    }

    fn truncate(&mut self, to_lines: bool) -> Truncate {
        self.value("truncate", |text| match values::truncate(text)? {
            Truncate::Truncate if to_lines => {
                Err("rows that are written as lines cannot be removed: use `stop` or `ignore`".to_owned())
            }
            truncate => Ok(truncate),
        })
        .unwrap_or_default()
    }

    fn watch(&mut self, has_file: bool) -> bool {
        let watch = self.value("watch", |text| match values::switch(text)? {
            true if !has_file => Err("there is no file to watch: name one with `transform`".to_owned()),
            watch => Ok(watch),
        });
        watch.unwrap_or_default()
    }

    fn password(&mut self) -> Option<Secret> {
        self.secret("password", "password_file").or_else(|| Some(Secret::default()))
    }

    /// A secret that one setting is, or another names the file of; none where neither is set.
    fn secret(&mut self, name: &str, file: &str) -> Option<Secret> {
        if self.merged.has(file) {
            return self.value(file, |text| read_file(text).map(|text| Secret::of_file(&text)));
        }
        self.value(name, |text| Ok(Secret::new(text)))
    }

    /// None: no registry is named, or what is said of it is wrong, which is noted then.
    fn registry(&mut self) -> Option<Registry> {
        let others = ["user", "password", "password_file", "token", "token_file", "ca_file"];
        let others = others.map(|other| format!("registry.{other}"));
        if !self.merged.has("registry.url") {
            for name in others {
                let origin = self.merged.items(&name).last().map(|item| item.origin.clone());
                if let Some(origin) = origin {
                    self.mistakes.of(&name, origin, "there is no registry: set `registry.url` too");
                }
            }
            self.forget(&["registry.framing"]);
            return None;
        }
        let url = self.value("registry.url", values::registry_url);
        let framing = self.value("registry.framing", values::framing);
        let ca = self.certificates("registry.ca_file");
        let credentials = self.credentials("registry");
        Some(Registry { url: url?, framing: framing?, credentials: credentials?, ca })
    }

    /// The file of certificates that a setting names; none where it names none, or what is wrong, which is noted then.
    fn certificates(&mut self, name: &str) -> Option<String> {
        self.value(name, |text| {
            let text = read_file(text)?;
            match text.contains("-----BEGIN CERTIFICATE-----") {
                true => Ok(text),
                false => Err("it has no certificate in PEM".to_owned()),
            }
        })
    }

    /// Who the host is, by the settings of this map. None: what they say is wrong, which is noted then.
    fn credentials(&mut self, of: &str) -> Option<Credentials> {
        let name = |member: &str| format!("{of}.{member}");
        let user = self.value(&name("user"), values::foreign_name);
        let password = self.secret(&name("password"), &name("password_file"));
        let token = self.secret(&name("token"), &name("token_file"));
        let (wrong, what) = match (user, password, token) {
            (None, None, None) => return Some(Credentials::None),
            (Some(user), _, None) if user.contains(':') => {
                ("user", "a user with a `:` cannot be told to a server".to_owned())
            }
            (Some(user), password, None) => {
                return Some(Credentials::Basic(user, password.unwrap_or_default()));
            }
            (None, None, Some(token)) => return Some(Credentials::Bearer(token)),
            (None, Some(_), _) => ("password", format!("it is nobody's: set `{of}.user` too")),
            (Some(_), _, Some(_)) => {
                ("token", format!("`{of}.token` and `{of}.user` exclude each other: leave one out"))
            }
        };
        let place = |member: &str| self.merged.items(&name(member)).last().map(|item| item.origin.clone());
        let origin = place(wrong).or_else(|| place(&format!("{wrong}_file"))).unwrap_or(Origin::Default);
        self.mistakes.of(&name(wrong), origin, what);
        None
    }

    fn dead_letters(&mut self, to_lines: bool, source: Option<&Source>, tables: &Tables) -> DeadLetters {
        self.follows(
            "dead_letters",
            if to_lines { "file:dead-letters.ndjson" } else { "table:_rowgate_dead_letters" },
        );
        let read = |text: &str| match values::dead_letters(text)? {
            DeadLetters::Table(_) if to_lines => {
                Err("a table needs ClickHouse, and `output` takes its place: use file:PATH or stop"
                    .to_owned())
            }
            DeadLetters::Table(name) if !tables.has(&name) && !name.starts_with(tables::OWN_PREFIX) => {
                Err(format!("the table `{name}` is none of `tables`"))
            }
            DeadLetters::Topic(name) => match source {
                Some(Source::Lines { .. }) => {
                    Err("a topic needs Kafka, and `input` takes its place: use another form".to_owned())
                }
                Some(Source::Kafka(Kafka { topics, .. }))
                    if topics.contains(&TopicPattern::Name(name.clone())) =>
                {
                    Err(format!("`{name}` is itself read, and its records would come back for ever"))
                }
                _ => Ok(DeadLetters::Topic(name)),
            },
            chosen => Ok(chosen),
        };
        self.value("dead_letters", read).unwrap_or_default()
    }

    fn audit(&mut self, to_lines: bool) -> Audit {
        let read = |text: &str| match values::audit(text)? {
            Audit::Table if to_lines => {
                Err("a table needs ClickHouse, and `output` takes its place: leave it out".to_owned())
            }
            chosen => Ok(chosen),
        };
        self.value("audit", read).unwrap_or_default()
    }

    /// None: it is off, or what is said of it is wrong, which is noted then.
    fn admin(&mut self) -> Option<Admin> {
        let tokens_file = self.value("admin.tokens_file", values::file);
        let is_public = self.value("admin.insecure_public", values::switch).unwrap_or_default();
        let listen = self.value("admin.listen", values::listen)?;
        let refusal = match (listen.ip().is_loopback(), &tokens_file, is_public) {
            (true, ..) | (_, Some(_), true) => None,
            (_, None, _) => {
                Some("without tokens, everybody there could do everything: set `admin.tokens_file` too")
            }
            (_, Some(_), false) => Some(
                "the host does not encrypt, and tokens would be read on the way: listen on 127.0.0.1 behind a proxy that \
                 does, or set `admin.insecure_public` where something else does",
            ),
        };
        if let Some(what) = refusal {
            let origin = self.merged.items("admin.listen").last().map(|item| item.origin.clone());
            self.mistakes.of(
                "admin.listen",
                origin.unwrap_or(Origin::Default),
                format!("{listen} is reached from beyond this machine; {what}"),
            );
            return None;
        }
        Some(Admin { listen, tokens_file })
    }

    /// A file that is both read and written, or written from two sides, would destroy itself.
    fn files_apart(&mut self, source: Option<&Source>, sink: Option<&Sink>, dead_letters: &DeadLetters) {
        let input = match source {
            Some(Source::Lines { path: Some(path) }) => Some(path),
            _ => None,
        };
        let output = match sink {
            Some(Sink::Lines { path: Some(path) }) => Some(path),
            _ => None,
        };
        let letters = match dead_letters {
            DeadLetters::File(path) => Some(path),
            _ => None,
        };
        for (name, one, other_name, other) in [
            ("output", output, "input", input),
            ("dead_letters", letters, "input", input),
            ("dead_letters", letters, "output", output),
        ] {
            if let (Some(one), true) = (one, one == other) {
                let origin =
                    self.merged.items(name).last().map_or(Origin::Default, |item| item.origin.clone());
                self.mistakes.of(name, origin, format!("`{}` is the file of `{other_name}`", one.display()));
            }
        }
    }
}
