//! What the target's server can do: asked, not concluded from its version.
//!
//! Three statements tell it all: a catalogue of the types, settings and functions that matter; the ranges of
//! dates and times, found by whether their ends come back as they were; and the syntax of two statements.

use std::collections::{HashMap, HashSet};

use super::convert::calendar::DAY_SECONDS;
use super::level::Defaults;
use super::types::ColumnType;
use crate::debezium::civil;

/// Whether a type can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// The server does not know it.
    Missing,
    /// It knows it, and refuses it unless this setting is on.
    Behind(&'static str),
    /// It is there.
    Default,
}

impl Support {
    /// Whether tables can have it without a setting.
    pub fn is_default(self) -> bool {
        self == Support::Default
    }
}

/// What the target's server can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its version, for messages only.
    pub version: String,
    /// First and last day of Date, in days since 1970-01-01.
    pub date_days: (i64, i64),
    /// First and last day of Date32; none: there is no such type.
    pub date32_days: Option<(i64, i64)>,
    /// First and last second of DateTime, in seconds since 1970-01-01T00:00:00Z.
    pub datetime_seconds: (i64, i64),
    /// First and last second of DateTime64; none: there is no such type.
    pub datetime64_seconds: Option<(i64, i64)>,
    /// `Time`, `Time64`.
    pub time64: Support,
    /// `JSON`.
    pub json: Support,
    /// `Variant(…)`.
    pub variant: Support,
    /// `LowCardinality(…)`.
    pub low_cardinality: Support,
    /// `Map(…)`.
    pub map: Support,
    /// `Bool`.
    pub bool_type: bool,
    /// `UUID`.
    pub uuid: bool,
    /// `IPv4`, `IPv6`.
    pub addresses: bool,
    /// Integers of 128 and 256 bits.
    pub wide_integers: bool,
    /// Decimals of more than 38 digits.
    pub decimal256: bool,
    /// `Point`.
    pub point: bool,
    /// `SimpleAggregateFunction(…)`.
    pub simple_aggregates: bool,
    /// The second argument of `ReplacingMergeTree`, which says what is deleted.
    pub replacing_deletes: bool,
    /// Inserts may carry a token by which the server knows them again.
    pub tokens: bool,
    /// Inserts may go in a session that is closed for good; see [`super::session`].
    pub sessions: bool,
    /// Tables without replicas can remember inserts.
    pub windows: bool,
    /// How many inserts tables remember that do not say it themselves.
    pub remembered: Defaults,
    /// `system.tables` has the identifiers of tables and views.
    pub table_uuids: bool,
    /// `ADD COLUMN IF NOT EXISTS` and `{name:Type}` in statements.
    pub modern_syntax: bool,
    /// Of the settings that inserts carry, those that the server does not know.
    pub unknown_settings: Vec<&'static str>,
}

/// The settings that inserts carry. Parameters of HTTP are not among them: all servers have those.
const INSERT_SETTINGS: [&str; 10] = [
    "async_insert",
    "max_execution_time",
    "min_insert_block_size_rows",
    "min_insert_block_size_bytes",
    "max_insert_block_size",
    "insert_deduplicate",
    "deduplicate_blocks_in_dependent_materialized_views",
    "insert_deduplication_token",
    "input_format_native_allow_types_conversion",
    "deduplicate_insert",
];

/// Settings that keep a type away while they are off, under all the names that they have had.
const GATES: [(&str, &[&str]); 4] = [
    ("Time64", &["enable_time_time64_type", "allow_experimental_time_time64_type"]),
    ("JSON", &["enable_json_type", "allow_experimental_json_type", "allow_experimental_object_type"]),
    ("Variant", &["allow_experimental_variant_type", "enable_variant_type"]),
    ("LowCardinality", &["allow_experimental_low_cardinality_type"]),
];
const MAP_GATE: &str = "allow_experimental_map_type";

/// The setting of tables that came with the second argument of `ReplacingMergeTree`.
const DELETES_MARK: &str = "clean_deleted_rows";
const WINDOW: &str = "non_replicated_deduplication_window";
const REPLICATED_WINDOW: &str = "replicated_deduplication_window";
/// What replicated tables remember on servers that do not tell.
const REPLICATED_BLOCKS: u64 = 100;

/// Asks which types, settings and settings of tables there are. The answer is lines of kind, name, value.
pub fn catalogue_sql() -> String {
    let gates = GATES.iter().flat_map(|(_, names)| names.iter()).chain([&MAP_GATE]);
    let settings: Vec<String> = INSERT_SETTINGS.iter().chain(gates).map(|name| format!("'{name}'")).collect();
    format!(
        "SELECT 'version' AS kind, version() AS name, '' AS value \
         UNION ALL SELECT 'type', name, '' FROM system.data_type_families \
         UNION ALL SELECT 'setting', name, value FROM system.settings WHERE name IN ({}) \
         UNION ALL SELECT 'table', name, value FROM system.merge_tree_settings \
         WHERE name IN ('{WINDOW}', '{REPLICATED_WINDOW}', '{DELETES_MARK}') \
         UNION ALL SELECT 'column', name, '' FROM system.columns \
         WHERE database = 'system' AND table = 'tables' AND name = 'uuid' \
         FORMAT TabSeparated",
        settings.join(", ")
    )
}

/// A statement that only a server with [`Profile::modern_syntax`] can read; it needs the parameter `param_x`.
pub const SYNTAX_SQL: &str =
    "EXPLAIN AST ALTER TABLE t ADD COLUMN IF NOT EXISTS c UInt8 DEFAULT {x:UInt8} FORMAT TabSeparated";

/// Years in which ranges have begun or ended, the widest first.
const FIRST_DAYS: [(i64, u32, u32); 4] = [(0, 1, 1), (1900, 1, 1), (1925, 1, 1), (1970, 1, 1)];
const LAST_DAYS: [(i64, u32, u32); 4] = [(9999, 12, 31), (2299, 12, 31), (2283, 11, 11), (2149, 6, 6)];

/// A point that a range may end at: the SQL of its text, and the text that it has if it is in the range.
struct End {
    at: i64,
    sql: String,
    text: String,
}

fn day_text(days: i64) -> String {
    let (year, month, day) = civil::date(days);
    format!("{year:04}-{month:02}-{day:02}")
}

fn second_text(seconds: i64) -> String {
    let of_day = seconds.rem_euclid(DAY_SECONDS);
    let day = day_text(seconds.div_euclid(DAY_SECONDS));
    format!("{day} {:02}:{:02}:{:02}", of_day / 3_600, of_day / 60 % 60, of_day % 60)
}

/// The ends to try, widest first, of the ranges in the order of [`Ranges`].
fn ends(date32: bool, datetime64: bool) -> Vec<Vec<End>> {
    let day =
        |to: &str, days: i64| End { at: days, sql: format!("toString({to}({days}))"), text: day_text(days) };
    let second = |seconds: i64| End {
        at: seconds,
        sql: format!("toString(toDateTime({seconds}), 'UTC')"),
        text: second_text(seconds),
    };
    let wide = |seconds: i64| End {
        at: seconds,
        sql: format!("toString(fromUnixTimestamp64Milli(toInt64({}), 'UTC'))", seconds * 1_000),
        text: format!("{}.000", second_text(seconds)),
    };
    let days = |all: [(i64, u32, u32); 4]| all.map(|(year, month, day)| civil::days(year, month, day));
    let date32_day = |days: i64| End {
        // Not from text: what cannot be read would be an error, and the whole answer with it.
        sql: format!("toString(CAST(toInt32({days}) AS Date32))"),
        ..day("", days)
    };
    vec![
        // Servers before 2020 show the first day and second as zeros, and end in 2105.
        [0, 1].map(|days| day("toDate", days)).into(),
        [65_535, 49_672].map(|days| day("toDate", days)).into(),
        [0, 1].map(second).into(),
        [4_294_967_295, 4_291_747_199].map(second).into(),
        if date32 { days(FIRST_DAYS).map(date32_day).into() } else { vec![] },
        if date32 { days(LAST_DAYS).map(date32_day).into() } else { vec![] },
        if datetime64 { days(FIRST_DAYS).map(|days| wide(days * DAY_SECONDS)).into() } else { vec![] },
        if datetime64 {
            days(LAST_DAYS).map(|days| wide(days * DAY_SECONDS + DAY_SECONDS - 1)).into()
        } else {
            vec![]
        },
    ]
}

/// What the catalogue says.
#[derive(Debug, Default)]
pub struct Catalogue {
    version: String,
    types: HashSet<String>,
    settings: HashMap<String, String>,
    of_tables: HashMap<String, String>,
    table_uuids: bool,
}

impl Catalogue {
    /// Reads the answer to [`catalogue_sql`].
    pub fn read(answer: &str) -> Self {
        let mut catalogue = Catalogue::default();
        for line in answer.lines() {
            let mut parts = line.split('\t');
            let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            match kind {
                "version" => name.clone_into(&mut catalogue.version),
                "type" => _ = catalogue.types.insert(name.to_owned()),
                "setting" => {
                    let value = parts.next().unwrap_or_default();
                    catalogue.settings.insert(name.to_owned(), value.to_owned());
                }
                "table" => {
                    let value = parts.next().unwrap_or_default();
                    catalogue.of_tables.insert(name.to_owned(), value.to_owned());
                }
                "column" => catalogue.table_uuids = true,
                _ => {}
            }
        }
        catalogue
    }

    fn has(&self, ty: &str) -> bool {
        self.types.contains(ty)
    }

    fn gated(&self, ty: &str, gates: &[&'static str]) -> Support {
        if !self.has(ty) {
            return Support::Missing;
        }
        let closed = gates.iter().filter(|gate| {
            self.settings.get(**gate).is_some_and(|value| matches!(value.as_str(), "0" | "false"))
        });
        // One name of several may be left over from before; any that is on opens it.
        let open = gates.iter().any(|gate| self.settings.get(*gate).is_some_and(|value| value == "1"));
        match closed.copied().next() {
            Some(gate) if !open => Support::Behind(gate),
            _ => Support::Default,
        }
    }

    fn support(&self, ty: &str) -> Support {
        let gates = GATES.iter().find(|(name, _)| *name == ty).map_or(&[][..], |(_, gates)| gates);
        self.gated(ty, gates)
    }

    fn remembered(&self) -> Defaults {
        let blocks = |name: &str| self.of_tables.get(name).and_then(|value| value.parse().ok());
        Defaults {
            window: blocks(WINDOW).unwrap_or(0),
            replicated: blocks(REPLICATED_WINDOW).unwrap_or(REPLICATED_BLOCKS),
        }
    }

    /// Asks for the ranges of the types that there are.
    pub fn ranges_sql(&self) -> String {
        let ends = ends(self.has("Date32"), self.has("DateTime64"));
        let texts: Vec<&str> = ends.iter().flatten().map(|end| end.sql.as_str()).collect();
        format!("SELECT {} FORMAT TabSeparated", texts.join(", "))
    }

    /// The profile; `ranges` is the answer to [`Self::ranges_sql`], the others are what trying shows.
    pub fn profile(&self, ranges: &str, modern_syntax: bool, sessions: bool) -> Profile {
        let mut texts = ranges.trim_end_matches('\n').split('\t');
        let found: Vec<Option<i64>> = ends(self.has("Date32"), self.has("DateTime64"))
            .iter()
            .map(|ends| {
                let same: Vec<bool> =
                    ends.iter().map(|end| texts.next().is_some_and(|text| text == end.text)).collect();
                ends.iter().zip(same).find(|(_, same)| *same).map(|(end, _)| end.at)
            })
            .collect();
        let range =
            |index: usize| found.get(index).copied().flatten().zip(found.get(index + 1).copied().flatten());
        let unknown = INSERT_SETTINGS.into_iter().filter(|name| !self.settings.contains_key(*name));
        Profile {
            version: self.version.clone(),
            date_days: range(0).unwrap_or((1, 49_672)),
            datetime_seconds: range(2).unwrap_or((1, 4_291_747_199)),
            date32_days: range(4),
            datetime64_seconds: range(6),
            time64: self.support("Time64"),
            json: self.support("JSON"),
            variant: self.support("Variant"),
            low_cardinality: self.support("LowCardinality"),
            map: self.gated("Map", &[MAP_GATE]),
            bool_type: self.has("Bool"),
            uuid: self.has("UUID"),
            addresses: self.has("IPv6"),
            wide_integers: self.has("Int256"),
            decimal256: self.has("Decimal256"),
            point: self.has("Point"),
            simple_aggregates: self.has("SimpleAggregateFunction"),
            replacing_deletes: self.of_tables.contains_key(DELETES_MARK),
            tokens: self.settings.contains_key("insert_deduplication_token"),
            sessions,
            windows: self.of_tables.contains_key(WINDOW),
            remembered: self.remembered(),
            table_uuids: self.table_uuids,
            modern_syntax,
            unknown_settings: unknown.collect(),
        }
    }
}

impl Profile {
    /// A server of 2026 whose Date32 and DateTime64 go from the first day of one year to the end of another.
    pub fn years(first: i32, last: i32) -> Self {
        let from = civil::days(i64::from(first), 1, 1);
        let to = civil::days(i64::from(last), 12, 31);
        Profile {
            version: String::new(),
            date_days: (0, 65_535),
            date32_days: Some((from, to)),
            datetime_seconds: (0, 4_294_967_295),
            datetime64_seconds: Some((from * DAY_SECONDS, to * DAY_SECONDS + 86_399)),
            time64: Support::Default,
            json: Support::Default,
            variant: Support::Default,
            low_cardinality: Support::Default,
            map: Support::Default,
            bool_type: true,
            uuid: true,
            addresses: true,
            wide_integers: true,
            decimal256: true,
            point: true,
            simple_aggregates: true,
            replacing_deletes: true,
            tokens: true,
            sessions: true,
            windows: true,
            remembered: Defaults { window: 0, replicated: 10_000 },
            table_uuids: true,
            modern_syntax: true,
            unknown_settings: vec![],
        }
    }

    /// A server with nothing but what ClickHouse had in 2018.
    pub fn oldest() -> Self {
        Profile {
            date_days: (1, 49_672),
            date32_days: None,
            datetime_seconds: (1, 4_291_747_199),
            datetime64_seconds: None,
            time64: Support::Missing,
            json: Support::Missing,
            variant: Support::Missing,
            low_cardinality: Support::Missing,
            map: Support::Missing,
            bool_type: false,
            addresses: false,
            wide_integers: false,
            decimal256: false,
            point: false,
            simple_aggregates: false,
            replacing_deletes: false,
            tokens: false,
            windows: false,
            remembered: Defaults { window: 0, replicated: REPLICATED_BLOCKS },
            table_uuids: false,
            modern_syntax: false,
            unknown_settings: vec![
                "async_insert",
                "deduplicate_blocks_in_dependent_materialized_views",
                "insert_deduplication_token",
                "input_format_native_allow_types_conversion",
                "deduplicate_insert",
            ],
            ..Profile::default()
        }
    }

    /// Whether inserts into tables of the host's own go in a session, since no token is known.
    pub fn wants_sessions(&self) -> bool {
        self.sessions && !self.tokens
    }

    /// Whether an insert may carry this setting or parameter.
    pub fn takes_setting(&self, name: &str) -> bool {
        !self.unknown_settings.contains(&name)
    }

    /// The type that a created column gets where `ty` would be right: itself, or on a server that lacks it
    /// the nearest one that loses nothing. Times of day become integers, everything else that is missing text.
    pub fn nearest(&self, ty: ColumnType) -> ColumnType {
        let boxed = |inner: ColumnType| Box::new(self.nearest(inner));
        match ty {
            ColumnType::Bool if !self.bool_type => ColumnType::Int { signed: false, bits: 8 },
            ColumnType::Date32 if self.date32_days.is_none() => ColumnType::String,
            ColumnType::DateTime64(..) if self.datetime64_seconds.is_none() => ColumnType::String,
            ColumnType::Time if !self.time64.is_default() => ColumnType::Int { signed: true, bits: 64 },
            ColumnType::Time64(digits) if !self.time64.is_default() => match digits {
                0..=6 => ColumnType::Int { signed: true, bits: 64 },
                _ => ColumnType::String,
            },
            ColumnType::Json(_) if !self.json.is_default() => ColumnType::String,
            ColumnType::Uuid if !self.uuid => ColumnType::String,
            ColumnType::Ipv4 | ColumnType::Ipv6 if !self.addresses => ColumnType::String,
            ColumnType::Int { bits: 128 | 256, .. } if !self.wide_integers => ColumnType::String,
            ColumnType::Decimal { precision: 39.., .. } if !self.decimal256 => ColumnType::String,
            ColumnType::Map(..) if !self.map.is_default() => ColumnType::String,
            ColumnType::LowCardinality(inner) if !self.low_cardinality.is_default() => self.nearest(*inner),
            ColumnType::LowCardinality(inner) => ColumnType::LowCardinality(inner),
            ColumnType::Nullable(inner) => self.nearest(*inner).into_nullable(),
            ColumnType::Array(inner) => ColumnType::Array(boxed(*inner)),
            ColumnType::Map(key, value) => ColumnType::Map(key, boxed(*value)),
            ColumnType::Tuple(elements) => ColumnType::Tuple(
                elements.into_iter().map(|(name, element)| (name, self.nearest(element))).collect(),
            ),
            other => other,
        }
    }
}

impl Default for Profile {
    /// Servers since mid-2026: the years 0000 to 9999.
    fn default() -> Self {
        Profile::years(0, 9999)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of a server whose ranges are these.
    fn answers(catalogue: &Catalogue, profile: &Profile) -> String {
        let ranges = [
            Some(profile.date_days),
            Some(profile.datetime_seconds),
            profile.date32_days,
            profile.datetime64_seconds,
        ];
        let ends = ends(catalogue.has("Date32"), catalogue.has("DateTime64"));
        let texts = ends.iter().enumerate().flat_map(|(index, ends)| {
            let range = ranges[index / 2];
            ends.iter().map(move |end| match range {
                Some((first, last)) if (first..=last).contains(&end.at) => end.text.clone(),
                _ => "0000-00-00".to_owned(),
            })
        });
        texts.collect::<Vec<_>>().join("\t") + "\n"
    }

    const MODERN: &str = "version\t26.7.2.1\t\ntype\tDate32\t\ntype\tDateTime64\t\ntype\tTime64\t\ntype\tBool\t\n\
        type\tLowCardinality\t\ntype\tUUID\t\ntype\tMap\t\nsetting\tenable_time_time64_type\t0\n\
        setting\tinsert_deduplication_token\t\nsetting\tasync_insert\t1\n\
        table\tnon_replicated_deduplication_window\t3\ntable\treplicated_deduplication_window\t7\n\
        table\tclean_deleted_rows\t\ncolumn\tuuid\t\n";

    #[test]
    fn what_the_server_says_of_itself_is_its_profile() {
        let catalogue = Catalogue::read(MODERN);
        for (first, last) in [(0, 9999), (1900, 2299)] {
            let expected = Profile::years(first, last);
            let profile = catalogue.profile(&answers(&catalogue, &expected), true, true);
            assert_eq!(profile.date32_days, expected.date32_days);
            assert_eq!(profile.datetime64_seconds, expected.datetime64_seconds);
            assert_eq!((profile.date_days, profile.datetime_seconds), ((0, 65_535), (0, 4_294_967_295)));
            assert_eq!(profile.time64, Support::Behind("enable_time_time64_type"));
            assert_eq!(profile.low_cardinality, Support::Default);
            assert_eq!(profile.json, Support::Missing);
            assert!(profile.tokens && profile.windows && profile.replacing_deletes && profile.bool_type);
            assert!(profile.takes_setting("async_insert") && !profile.takes_setting("insert_deduplicate"));
            assert_eq!(profile.version, "26.7.2.1");
            assert_eq!(profile.remembered, Defaults { window: 3, replicated: 7 });
            assert!(profile.table_uuids);
        }
    }

    #[test]
    fn a_server_of_2018_has_little() {
        let catalogue = Catalogue::read(
            "version\t18.16.1\t\ntype\tUUID\t\ntype\tLowCardinality\t\nsetting\tallow_experimental_low_cardinality_type\t0\n\
             setting\tinsert_deduplicate\t1\nsetting\tmax_execution_time\t0\nsetting\tmin_insert_block_size_rows\t1\n\
             setting\tmin_insert_block_size_bytes\t1\nsetting\tmax_insert_block_size\t1\n",
        );
        assert!(!catalogue.ranges_sql().contains("Date32"));
        let profile = catalogue.profile(&answers(&catalogue, &Profile::oldest()), false, true);
        let low_cardinality = Support::Behind("allow_experimental_low_cardinality_type");
        let expected = Profile { version: "18.16.1".into(), low_cardinality, ..Profile::oldest() };
        assert_eq!(profile, expected);
    }

    #[test]
    fn a_type_that_the_server_lacks_has_another_in_its_place() {
        let old = Profile::oldest();
        for (wanted, nearest) in [
            ("Bool", "UInt8"),
            ("Nullable(Bool)", "Nullable(UInt8)"),
            ("LowCardinality(Nullable(String))", "Nullable(String)"),
            ("DateTime64(6, 'UTC')", "String"),
            ("Nullable(Date32)", "Nullable(String)"),
            ("Time64(6)", "Int64"),
            ("Time64(9)", "String"),
            ("Decimal(38, 2)", "Decimal(38, 2)"),
            ("Decimal(39, 2)", "String"),
            ("Map(String, Bool)", "String"),
            ("Array(Nullable(DateTime64(3)))", "Array(Nullable(String))"),
            ("Array(Map(String, String))", "Array(String)"),
            ("UUID", "UUID"),
            ("IPv6", "String"),
            ("Int128", "String"),
            ("JSON", "String"),
        ] {
            let wanted = ColumnType::parse(wanted).expect("a type");
            assert_eq!(old.nearest(wanted.clone()).to_string(), nearest);
            assert_eq!(Profile::default().nearest(wanted.clone()), wanted);
        }
    }
}
