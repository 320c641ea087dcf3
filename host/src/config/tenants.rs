//! From a file with tenants to the settings of each pipeline: which layers lie over which, and what may not be the
//! same in two of them.

use super::file::{File, Tenant};
use super::keys::{KEYS, Key, Scope, key, nearest};
use super::layer::{Item, Layer, Origin};
use super::mistake::Mistakes;
use super::validate;
use super::{Loaded, Settings, Sink, Source, Surroundings, values};

/// Settings of which a place further in may only have less than the one around it.
const DOWNWARD: &str = "limits.";

/// What lies around all pipelines of a file.
pub(super) struct Around<'a> {
    /// What wins over the file: variables and flags.
    pub above: Layer,
    /// Where the state is where nobody says it.
    pub state_dir: Option<Item>,
    /// What the process finds around it.
    pub surroundings: &'a Surroundings,
}

impl Around<'_> {
    /// The settings of a pipeline of which the file says this; `of` is its full name, and its tenant's.
    ///
    /// # Errors
    /// All mistakes that there are.
    pub fn pipeline(
        &self,
        of_file: Layer,
        of: Option<(Item, String)>,
        mistakes: Mistakes,
        warnings: Vec<String>,
    ) -> Result<Loaded, Mistakes> {
        let mut merged = of_file;
        merged.overlay(self.above.clone());
        let (name, tenant) = of.unzip();
        if let (Some(key), Some(name)) = (key("name"), name) {
            merged.remove(key.name);
            merged.push(key, name);
        }
        if let (false, Some(key), Some(item)) = (merged.has("state_dir"), key("state_dir"), &self.state_dir) {
            merged.push(key, item.clone());
        }
        let loaded = validate::settings(merged, self.surroundings, mistakes, warnings)?;
        Ok(Loaded { settings: Settings { tenant, ..loaded.settings }, ..loaded })
    }
}

/// A pipeline of a file: its full name, its tenant's, and what the file says of it.
struct Said {
    name: Item,
    tenant: String,
    layer: Layer,
}

/// The settings of all pipelines of all tenants.
///
/// # Errors
/// All mistakes that there are.
pub(super) fn all(
    file: File,
    around: &Around<'_>,
    mut mistakes: Mistakes,
    warnings: &mut Vec<String>,
) -> Result<Vec<Loaded>, Mistakes> {
    for origin in misplaced(&around.above) {
        let what = "it is one pipeline's, and the file has tenants: put it into the file, or choose a pipeline with \
                    --name TENANT.PIPELINE";
        mistakes.at(origin, what);
    }
    let mut found = Vec::new();
    for Said { name, tenant, layer } in said(file, &around.above, &mut mistakes) {
        match around.pipeline(layer, Some((name, tenant)), Mistakes::default(), Vec::new()) {
            Ok(loaded) => found.push(loaded),
            Err(more) => mistakes.add(more),
        }
    }
    apart(&found, &mut mistakes);
    if found.is_empty() && mistakes.0.is_empty() {
        mistakes.at(Origin::Default, "the file has `tenants`, and there is none");
    }
    if !mistakes.0.is_empty() {
        return Err(mistakes);
    }
    for warning in found.iter_mut().flat_map(|loaded| std::mem::take(&mut loaded.warnings)) {
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }
    Ok(found)
}

/// The settings of one pipeline of a file with tenants; flags and variables set all of them.
///
/// # Errors
/// All mistakes that there are, in this pipeline or in the form of the file.
pub(super) fn chosen(
    file: File,
    around: &Around<'_>,
    chosen: &Item,
    mut mistakes: Mistakes,
    warnings: Vec<String>,
) -> Result<Loaded, Mistakes> {
    let all = said(file, &Layer::default(), &mut mistakes);
    let names: Vec<&str> = all.iter().map(|said| said.name.text.as_str()).collect();
    let what = match nearest(&chosen.text, names.iter().copied()) {
        Some(near) => format!("the file has no pipeline `{}`: the nearest is `{near}`", chosen.text),
        None => format!("the file has no pipeline `{}`, but {}", chosen.text, listed(&names)),
    };
    match all.into_iter().find(|said| said.name.text == chosen.text) {
        Some(Said { name, tenant, layer }) => {
            around.pipeline(layer, Some((name, tenant)), mistakes, warnings)
        }
        None => {
            mistakes.at(chosen.origin.clone(), what);
            Err(mistakes)
        }
    }
}

/// A few of many names.
pub(super) fn listed(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    let mut text = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", ...");
    }
    text
}

/// The pipelines of a file, each with all that the file says of it, above the defaults. `above` counts where it is looked
/// whether a limit is within that of the top.
fn said(file: File, above: &Layer, mistakes: &mut Mistakes) -> Vec<Said> {
    let mut top = Layer::defaults();
    top.overlay_inner(file.top);
    let mut ceilings = top.clone();
    ceilings.overlay(above.clone());
    let mut all = Vec::new();
    for Tenant { name: tenant, origin, layer, pipelines } in file.tenants.unwrap_or_default() {
        if let Err(what) = values::tenant(&tenant) {
            mistakes.at(origin, what);
            continue;
        }
        within(&ceilings, &layer, "the top", mistakes);
        let mut of_tenant = top.clone();
        of_tenant.overlay_inner(layer.clone());
        let mut ceilings = ceilings.clone();
        ceilings.overlay_inner(layer);
        for pipeline in pipelines {
            within(&ceilings, &pipeline.layer, "its tenant", mistakes);
            let mut layer = of_tenant.clone();
            layer.overlay_inner(pipeline.layer);
            let text = format!("{tenant}.{}", pipeline.name);
            let name = Item { name: None, text, origin: pipeline.origin };
            all.push(Said { name, tenant: tenant.clone(), layer });
        }
    }
    all
}

/// Flags and variables that set what is one pipeline's.
fn misplaced(above: &Layer) -> Vec<Origin> {
    let is_one_pipelines = |key: &&Key| matches!(key.scope, Scope::Own | Scope::Alone | Scope::Tenant);
    let items = KEYS.iter().filter(is_one_pipelines).flat_map(|key| above.items(key.name).first());
    items.map(|item| item.origin.clone()).collect()
}

/// Notes what `inner` sets higher than `outer`, of what may be lower only.
fn within(outer: &Layer, inner: &Layer, around: &str, mistakes: &mut Mistakes) {
    for key in KEYS.iter().filter(|key| key.name.starts_with(DOWNWARD)) {
        let (Some(item), Some(ceiling)) = (inner.items(key.name).last(), outer.items(key.name).last()) else {
            continue;
        };
        // What cannot be read is told where it is read.
        if let (Some(wanted), Some(most)) = (height(key, &item.text), height(key, &ceiling.text))
            && wanted > most
        {
            let what = format!(
                "{} is more than {around} gives, {} ({}): less is possible here, more is not",
                item.text, ceiling.text, ceiling.origin
            );
            mistakes.of(key.name, item.origin.clone(), what);
        }
    }
}

/// How much a setting of [`DOWNWARD`] gives, to be compared with the same setting of another place.
fn height(key: &Key, text: &str) -> Option<u64> {
    match key.name {
        "limits.profile" => Some(values::sandbox_profile(text).ok()? as u64),
        _ => text.parse().ok(),
    }
}

/// Notes what two pipelines must not have in common.
fn apart(all: &[Loaded], mistakes: &mut Mistakes) {
    for (at, later) in all.iter().enumerate() {
        streams(later, mistakes);
        for earlier in &all[..at] {
            pair(earlier, later, mistakes);
        }
    }
}

/// A process has each of its standard streams once.
fn streams(loaded: &Loaded, mistakes: &mut Mistakes) {
    let settings = &loaded.settings;
    let of_stdin = matches!(&settings.source, Source::Lines { path: None }).then_some("input");
    let of_stdout = matches!(&settings.sink, Sink::Lines { path: None }).then_some("output");
    for name in [of_stdin, of_stdout].into_iter().flatten() {
        let what = "`-` is for one pipeline alone, and the file has tenants: name a file";
        mistakes.once_of(name, origin(loaded, name), what);
    }
}

fn pair(earlier: &Loaded, later: &Loaded, mistakes: &mut Mistakes) {
    let (one, other) = (&earlier.settings, &later.settings);
    let named = &one.name;
    if let (Source::Kafka(one), Source::Kafka(other)) = (&one.source, &other.source)
        && one.group == other.group
        && one.brokers == other.brokers
    {
        let what = format!("`{named}` has this consumer group, too: they would share its records");
        mistakes.once_of("group", origin(later, "group"), what);
    }
    match (&one.sink, &other.sink) {
        (Sink::Lines { path: Some(one) }, Sink::Lines { path: Some(other) }) if one == other => {
            mistakes.once_of(
                "output",
                origin(later, "output"),
                format!("`{named}` writes to this file, too"),
            );
        }
        (Sink::ClickHouse(to), Sink::ClickHouse(too))
            if one.tenant != other.tenant
                && (&to.url, &to.database) == (&too.url, &too.database)
                && one.tables.overlap(&other.tables) =>
        {
            let (tenant, of) =
                (other.tenant.as_deref().unwrap_or_default(), one.tenant.as_deref().unwrap_or_default());
            let what = format!(
                "the tenants `{of}` and `{tenant}` may write to the same tables of the database `{}`: give each a database of \
                 its own, or `tables` that differ",
                to.database
            );
            mistakes.once_of("tables", origin(later, "tables"), what);
        }
        _ => {}
    }
}

/// Where a setting comes from; where the pipeline is named, if nobody has set it.
fn origin(loaded: &Loaded, name: &str) -> Origin {
    let place = |name| loaded.resolved.items(name).last().map(|item| item.origin.clone());
    place(name)
        .filter(|origin| *origin != Origin::Default)
        .or_else(|| place("name"))
        .unwrap_or(Origin::Default)
}

#[cfg(test)]
mod tests {
    use super::super::{Budget, ClickHouse, Configured, Kafka, Request, Surroundings, load, load_one};
    use super::*;

    /// What `text` says as a file, with these flags.
    fn loaded(text: &str, flags: &[(&str, &str)]) -> Result<Configured, Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.yaml");
        std::fs::write(&path, text).unwrap();
        let mut layer = Layer::default();
        for (name, text) in flags {
            let key = key(name).unwrap();
            let origin = Origin::Flag(format!("--{}", key.flag.unwrap()));
            layer.push(key, Item { name: None, text: (*text).to_owned(), origin });
        }
        let request = Request { config: Some(path), flags: layer, ..Request::default() };
        let prefix = format!("{}/", folder.path().display());
        let plain = |mistakes: Mistakes| {
            mistakes.0.iter().map(|mistake| mistake.to_string().replace(&prefix, "")).collect()
        };
        load(&request, &Surroundings::default()).map_err(plain)
    }

    fn many(text: &str, flags: &[(&str, &str)]) -> Vec<Settings> {
        let configured = loaded(text, flags).unwrap();
        assert!(configured.is_many());
        configured.pipelines().iter().map(|loaded| loaded.settings.clone()).collect()
    }

    fn kafka(settings: &Settings) -> &Kafka {
        let Source::Kafka(kafka) = &settings.source else { panic!("{settings:?}") };
        kafka
    }

    fn clickhouse(settings: &Settings) -> &ClickHouse {
        let Sink::ClickHouse(sink) = &settings.sink else { panic!("{settings:?}") };
        sink
    }

    const FILE: &str = "
brokers: k:9092
password: general
budget: {rows_per_second: 7}
linger_ms: 50
params: {zone: UTC, rate: 1.50}
tenants:
  acme:
    database: acme
    tables: [acme_*, orders]
    budget: {fuel_per_second: 5, rows_per_change: 3, memory_mib: 128}
    params: {zone: CET}
    pipelines:
      orders: {topic: shop.public.orders, linger_ms: 20}
      users:
        input: users.ndjson
        params: {more: x}
  beta:
    database: beta
    pipelines:
      orders:
";

    #[test]
    fn a_setting_counts_from_the_top_over_the_tenant_to_the_pipeline_and_flags_win() {
        let all = many(FILE, &[("brokers", "flag:1"), ("for", "5s")]);
        let names: Vec<_> =
            all.iter().map(|settings| (settings.name.as_str(), settings.tenant.as_deref())).collect();
        assert_eq!(
            names,
            [("acme.orders", Some("acme")), ("acme.users", Some("acme")), ("beta.orders", Some("beta"))]
        );
        let linger: Vec<u32> = all.iter().map(|settings| settings.batch.linger_ms).collect();
        assert_eq!(linger, [20, 50, 50]);
        let params = |at: usize| all[at].params.0.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>();
        assert_eq!(params(1), ["rate=1.50", "zone=CET", "more=x"]);
        assert_eq!(params(2), ["zone=UTC", "rate=1.50"]);
        assert_eq!(kafka(&all[0]).brokers, ["flag:1"]);
        assert_eq!(
            (kafka(&all[0]).group.as_str(), kafka(&all[2]).group.as_str()),
            ("rowgate-acme.orders", "rowgate-beta.orders")
        );
        assert_eq!(
            (clickhouse(&all[0]).database.as_str(), clickhouse(&all[2]).password.expose()),
            ("acme", "general")
        );
        assert!(
            matches!(all[1].source, Source::Lines { .. }),
            "`input` takes the place of the default topics"
        );
        assert!(all[0].tables.has("acme_x") && !all[0].tables.has("beta_x") && all[2].tables.has("beta_x"));
        let budget = Budget { rows_per_second: Some(7), ..Budget::default() };
        let of_acme = Budget { fuel_per_second: Some(5), memory_mib: Some(128), ..budget };
        assert_eq!([0, 1, 2].map(|at: usize| all[at].budget), [of_acme, of_acme, budget]);
        assert_eq!((all[0].limits.rows_of_change, all[2].limits.rows_of_change), (3, 10_000));
        assert!(all.iter().all(|settings| settings.bounds.any()));
    }

    #[test]
    fn a_pipeline_is_chosen_by_its_name_and_takes_all_flags() {
        let configured =
            loaded(FILE, &[("name", "acme.orders"), ("table", "orders"), ("print", "true")]).unwrap();
        assert!(!configured.is_many());
        let settings = &configured.pipelines()[0].settings;
        assert_eq!((settings.name.as_str(), settings.tenant.as_deref()), ("acme.orders", Some("acme")));
        assert_eq!(clickhouse(settings).table.as_deref(), Some("orders"));
        assert!(settings.print && settings.batch.linger_ms == 20);
        let mistakes = loaded(FILE, &[("name", "acme.order")]).unwrap_err();
        assert_eq!(mistakes, ["--name: the file has no pipeline `acme.order`: the nearest is `acme.orders`"]);
        // A table that the tenant has not, from whatever place.
        let mistakes = loaded(FILE, &[("name", "acme.orders"), ("table", "beta_orders")]).unwrap_err();
        assert!(mistakes[0].starts_with("--table: the table `beta_orders` is none of those"), "{mistakes:?}");
    }

    #[test]
    fn what_is_one_pipelines_is_set_for_all_by_no_flag_and_by_no_variable() {
        let mistakes = loaded(FILE, &[("database", "d"), ("topic", "t"), ("show_last", "3")]).unwrap_err();
        let places: Vec<_> = mistakes.iter().map(|mistake| mistake.split(": ").next().unwrap()).collect();
        assert_eq!(places[..3], ["--topic", "--database", "--show-last"]);
        let one = load_one(&Request::default(), &Surroundings::default()).unwrap();
        assert_eq!(one.settings.tenant, None);
    }

    #[test]
    fn every_mistake_in_a_file_with_tenants_is_told_at_once_with_its_place() {
        let mistakes = loaded(
            "name: x\nlog_values: 3\nlimits: {memory_mib: 32}\nstart: sometime\ntenants:\n  a.b: {pipelines: {x: }}\n  empty:\n  c:\n    \
             log_format: json\n    topics: t\n    limits: {memory_mib: 64}\n    pipelines:\n      one: {tables: [t], print: true}\n      two words: {limits: {memory_mib: 33}, pipelines: {}}\n",
            &[],
        )
        .unwrap_err();
        let expected = [
            "t.yaml:1:1: where there are tenants, a pipeline is named by its tenant and by its key under `pipelines`",
            "t.yaml:7:3: the tenant `empty` has no `pipelines`",
            "t.yaml:9:5: `log_format` is the process's: put it to the top",
            "t.yaml:10:5: unknown key `topics`: the nearest is `topic`",
            "t.yaml:13:13: `tables` is the tenant's: put it there, or to the top for all tenants",
            "t.yaml:13:26: `print` is for one pipeline alone: choose one with --name, and use the flag",
            "t.yaml:14:45: `pipelines` does not stand here: `tenants` is at the top, `pipelines` in a tenant",
            "t.yaml:6:3: `a.b` is not a tenant's name: 1 to 64 letters, digits, `_` or `-`",
            "t.yaml:11:26: limits.memory_mib: 64 is more than the top gives, 32 (t.yaml:3:22): less is possible here, more is not",
            "t.yaml:4:8: start: `sometime` is none of earliest, latest",
            "t.yaml:2:13: log_values: `3` is neither true nor false",
            "t.yaml:14:7: name: `c.two words` is not 1 to 64 letters, digits, `.`, `_` or `-`",
        ];
        assert_eq!(mistakes, expected);
    }

    #[test]
    fn limits_go_down_from_place_to_place_and_no_variable_is_in_the_way() {
        let text = "tenants:\n  a:\n    limits: {memory_mib: 16}\n    pipelines:\n      x: {limits: {memory_mib: 8}}\n      y: {limits: {memory_mib: 17}}\n";
        let mistakes = loaded(text, &[]).unwrap_err();
        assert_eq!(
            mistakes,
            [
                "t.yaml:6:32: limits.memory_mib: 17 is more than its tenant gives, 16 (t.yaml:3:26): less is possible here, more is not"
            ]
        );
        assert_eq!(many(&text.replace("17", "16"), &[])[0].limits.memory_mib, 8);

        let text = "limits: {profile: runtime}\ntenants:\n  a:\n    limits: {profile: small}\n    pipelines: {x: {limits: {profile: runtime}}}\n";
        let mistakes = loaded(text, &[]).unwrap_err();
        assert_eq!(
            mistakes,
            [
                "t.yaml:5:39: limits.profile: runtime is more than its tenant gives, small (t.yaml:4:23): less is possible here, more is not"
            ]
        );
    }

    #[test]
    fn a_tenant_has_memory_for_one_instance_at_least() {
        let with = |tenant, instance| {
            let text = format!(
                "database: d\ntenants: {{a: {{budget: {{memory_mib: {tenant}}}, limits: {{memory_mib: {instance}}}, \
                 pipelines: {{x: }}}}}}"
            );
            loaded(&text, &[]).map(|_| ()).map_err(|mistakes| mistakes.join("\n"))
        };
        assert_eq!(with(64, 64), Ok(()));
        let told = with(63, 64).unwrap_err();
        assert!(told.contains("63 is less than one instance may have, 64 (`limits.memory_mib`)"), "{told}");
        assert_eq!(with(63, 32), Ok(()));
    }

    #[test]
    fn two_pipelines_share_no_group_no_file_and_two_tenants_no_table() {
        let of = |a: &str, b: &str| {
            loaded(
                &format!(
                    "tenants:\n  a:\n    pipelines: {{x: {{{a}}}}}\n  b:\n    pipelines: {{x: {{{b}}}}}\n"
                ),
                &[],
            )
        };
        let mistakes = of("group: g, database: a", "group: g, database: b").unwrap_err();
        assert_eq!(
            mistakes,
            ["t.yaml:5:28: group: `a.x` has this consumer group, too: they would share its records"]
        );
        let mistakes = of("output: f", "output: f").unwrap_err();
        assert_eq!(mistakes, ["t.yaml:5:29: output: `a.x` writes to this file, too"]);
        let mistakes = of("output: '-', input: '-'", "database: b").unwrap_err();
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        let mistakes = of("database: d", "database: d").unwrap_err();
        assert!(
            mistakes[0].contains("the tenants `a` and `b` may write to the same tables of the database `d`"),
            "{mistakes:?}"
        );
        let text = "database: d\ntenants:\n  a:\n    tables: a_*\n    pipelines: {x: , y: }\n  b:\n    tables: [b_*, b]\n    pipelines: {x: }\n";
        assert_eq!(many(text, &[]).len(), 3);
        assert_eq!(loaded(&text.replace("b_*", "a_b"), &[]).unwrap_err().len(), 1);
    }
}
