//! The materialized views that get a table's rows, and the tables behind them, at whatever remove.
//!
//! The server says which views read from a table; where a view writes to stands in the statement that made it.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::client::Client;
use super::level::{Defaults, Memory, Target, View};
use super::names::{identifier, literal};
use super::response::Failure;

/// Views that are followed at most; one table hardly has more.
const MAX_VIEWS: usize = 100;
/// What a view of a database without identifiers has in place of one.
const NO_UUID: &str = "00000000-0000-0000-0000-000000000000";

/// A database, and a table or view of it.
pub type Place = (String, String);

/// What `system.tables` says of a table or a view.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Node {
    database: String,
    name: String,
    /// Its engine.
    pub engine: String,
    /// Its engine with arguments, keys and settings; empty for a view.
    pub engine_full: String,
    /// The columns that it is sorted by.
    pub sorting_key: String,
    create_table_query: String,
    dependencies_database: Vec<String>,
    dependencies_table: Vec<String>,
    #[serde(default)]
    uuid: String,
}

impl Node {
    fn place(&self) -> Place {
        (self.database.clone(), self.name.clone())
    }

    /// The views that read from it.
    fn dependents(&self) -> impl Iterator<Item = Place> {
        let pairs = self.dependencies_database.iter().zip(&self.dependencies_table);
        pairs.map(|(database, name)| (database.clone(), name.clone())).collect::<Vec<_>>().into_iter()
    }

    /// Where a materialized view writes to; none: nothing that is inserted brings it to write.
    fn target(&self) -> Option<Result<Place, String>> {
        if self.engine != "MaterializedView" {
            return Some(Err(format!("it is a {}", self.engine)));
        }
        let Some(head) = head(&self.create_table_query) else {
            return Some(Err("its statement cannot be read".to_owned()));
        };
        if head.iter().any(|word| word == "REFRESH") {
            return None;
        }
        // A name may be `TO`, too: that of the view is the fourth word.
        let to = head.iter().skip(4).position(|word| word == "TO").map(|at| at + 4);
        let named = to.and_then(|at| head.get(at + 1)).filter(|word| *word != "INNER");
        Some(match named {
            Some(name) => parts(name).ok_or_else(|| format!("its target {name} cannot be read")),
            None if self.uuid.is_empty() || self.uuid == NO_UUID => {
                Ok((self.database.clone(), format!(".inner.{}", self.name)))
            }
            None => Ok((self.database.clone(), format!(".inner_id.{}", self.uuid))),
        })
    }
}

/// The words of a statement before its columns, those in quotes as they stand; none where a quote does not end.
fn head(sql: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut characters = sql.chars();
    while let Some(character) = characters.next() {
        let word = words.last_mut()?;
        match character {
            '(' => break,
            ' ' | '\n' => words.push(String::new()),
            '`' | '\'' | '"' => {
                word.push(character);
                loop {
                    let next = characters.next()?;
                    word.push(next);
                    match next {
                        '\\' => word.push(characters.next()?),
                        _ if next == character => break,
                        _ => {}
                    }
                }
            }
            other => word.push(other),
        }
    }
    words.retain(|word| !word.is_empty());
    Some(words)
}

/// Database and name of `a.b`, each quoted or not.
fn parts(name: &str) -> Option<Place> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    let mut characters = name.chars();
    while let Some(character) = characters.next() {
        match character {
            '`' => quoted = !quoted,
            '.' if !quoted => parts.push(String::new()),
            '\\' if quoted => parts.last_mut()?.push(match characters.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                '0' => '\0',
                'b' => '\u{8}',
                'f' => '\u{c}',
                other => other,
            }),
            other => parts.last_mut()?.push(other),
        }
    }
    let [database, name] = <[String; 2]>::try_from(parts).ok()?;
    Some((database, name))
}

/// What the server says of these tables and views; those that it does not show are left out.
pub fn nodes(client: &Client, places: &[Place]) -> Result<Vec<Node>, Failure> {
    let uuid = if client.profile().table_uuids { ", toString(uuid) AS uuid" } else { "" };
    let one =
        |(database, name): &Place| format!("(database = {} AND name = {})", literal(database), literal(name));
    let sql = format!(
        "SELECT database, name, engine, engine_full, sorting_key, create_table_query, dependencies_database, \
         dependencies_table{uuid} FROM system.tables WHERE {} FORMAT JSONEachRow",
        places.iter().map(one).collect::<Vec<_>>().join(" OR "),
    );
    let answer = String::from_utf8_lossy(&client.query(&sql)?).into_owned();
    let wrong = |error: serde_json::Error| Failure::halt(&format!("the server's answer on tables: {error}"));
    answer.lines().map(|line| serde_json::from_str(line).map_err(wrong)).collect()
}

/// The views that get the rows of `table`, those behind them, and so on. `ask` says what the server says.
pub fn behind<E>(
    table: &Node,
    defaults: Defaults,
    mut ask: impl FnMut(&[Place]) -> Result<Vec<Node>, E>,
) -> Result<Vec<View>, E> {
    let mut found = Vec::new();
    let mut seen: HashSet<Place> = HashSet::new();
    let mut next: Vec<Place> = table.dependents().collect();
    loop {
        next.retain(|view| seen.insert(view.clone()));
        if next.is_empty() {
            return Ok(found);
        }
        let shown = |(database, name): &Place| format!("{database}.{name}");
        if seen.len() > MAX_VIEWS {
            let why = format!("it has more than {MAX_VIEWS} views behind it");
            found.push(View { name: shown(&next[0]), target: Target::Unknown(why) });
            return Ok(found);
        }
        let views = by_place(ask(&next)?);
        let mut followed: Vec<(Place, Place)> = Vec::new();
        let mut after = Vec::new();
        for place in &next {
            let unknown = |why: String| View { name: shown(place), target: Target::Unknown(why) };
            let Some(view) = views.get(place) else {
                found.push(unknown("the host's user cannot see it".to_owned()));
                continue;
            };
            after.extend(view.dependents());
            match view.target() {
                None => {}
                Some(Ok(target)) => followed.push((place.clone(), target)),
                Some(Err(why)) => found.push(unknown(why)),
            }
        }
        let places: Vec<Place> = followed.iter().map(|(_, target)| target.clone()).collect();
        let targets = if places.is_empty() { HashMap::new() } else { by_place(ask(&places)?) };
        for (view, target) in followed {
            let place = format!("{}.{}", identifier(&target.0), identifier(&target.1));
            let target = match targets.get(&target) {
                None => Target::Unknown(format!("the host's user cannot see {place}")),
                Some(node) => {
                    after.extend(node.dependents());
                    let memory = Memory::read(&node.engine, &node.engine_full, defaults);
                    Target::Table(place, node.engine.clone(), memory)
                }
            };
            found.push(View { name: shown(&view), target });
        }
        next = after;
    }
}

fn by_place(nodes: Vec<Node>) -> HashMap<Place, Node> {
    nodes.into_iter().map(|node| (node.place(), node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: Defaults = Defaults { window: 0, replicated: 100 };

    fn node(name: &str, engine: &str, create: &str, dependents: &[&str]) -> Node {
        Node {
            database: "db".into(),
            name: name.into(),
            engine: engine.into(),
            engine_full: format!("{engine} ORDER BY a"),
            create_table_query: create.into(),
            dependencies_database: dependents.iter().map(|_| "db".to_owned()).collect(),
            dependencies_table: dependents.iter().map(|name| (*name).to_owned()).collect(),
            ..Node::default()
        }
    }

    fn view(name: &str, to: &str, dependents: &[&str]) -> Node {
        let create =
            format!("CREATE MATERIALIZED VIEW db.{name} TO db.{to} (`id` Int64) AS SELECT id FROM db.t");
        node(name, "MaterializedView", &create, dependents)
    }

    /// What is behind the first of these, and how often it was asked.
    fn follow(nodes: &[Node]) -> (Vec<(String, String)>, usize) {
        let mut asked = 0;
        let found = behind::<()>(&nodes[0], DEFAULTS, |places| {
            asked += 1;
            Ok(nodes.iter().filter(|node| places.contains(&node.place())).cloned().collect())
        });
        let told = |view: View| match view.target {
            Target::Table(place, engine, _) => (view.name, format!("{place} {engine}")),
            Target::Unknown(why) => (view.name, why),
        };
        (found.expect("no failure").into_iter().map(told).collect(), asked)
    }

    fn pairs(these: &[(&str, &str)]) -> Vec<(String, String)> {
        these.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
    }

    #[test]
    fn views_of_views_and_of_their_targets_are_followed_each_once() {
        let (found, asked) = follow(&[
            node("t", "MergeTree", "", &["v1", "v2"]),
            view("v1", "t1", &["v3"]),
            view("v2", "t1", &[]),
            node("t1", "MergeTree", "", &["v4"]),
            view("v3", "t3", &[]),
            node("t3", "Null", "", &[]),
            view("v4", "t", &[]),
        ]);
        assert_eq!(
            found,
            pairs(&[
                ("db.v1", "`db`.`t1` MergeTree"),
                ("db.v2", "`db`.`t1` MergeTree"),
                ("db.v3", "`db`.`t3` Null"),
                ("db.v4", "`db`.`t` MergeTree"),
            ])
        );
        assert_eq!(asked, 4, "two a round, though the last view leads back to the first table");
        assert_eq!(follow(&[node("t", "MergeTree", "", &[])]), (vec![], 0));
    }

    #[test]
    fn a_chain_without_an_end_is_given_up() {
        let nodes = (0..300).flat_map(|at| {
            let next = format!("v{}", at + 1);
            let target = node(&format!("t{at}"), "MergeTree", "", &[&next]);
            [target, view(&next, &format!("t{}", at + 1), &[])]
        });
        let (found, _) = follow(&nodes.collect::<Vec<_>>());
        assert_eq!(found.len(), MAX_VIEWS + 1);
        assert!(found[MAX_VIEWS].1.contains("more than 100"), "{:?}", found[MAX_VIEWS]);
    }

    #[test]
    fn what_cannot_be_seen_or_read_is_said_to_be() {
        let (found, _) = follow(&[
            node("t", "MergeTree", "", &["hidden", "v", "live", "cut"]),
            view("v", "hidden", &[]),
            node("live", "LiveView", "", &[]),
            node("cut", "MaterializedView", "CREATE MATERIALIZED VIEW db.`cut", &[]),
        ]);
        assert_eq!(
            found,
            pairs(&[
                ("db.hidden", "the host's user cannot see it"),
                ("db.live", "it is a LiveView"),
                ("db.cut", "its statement cannot be read"),
                ("db.v", "the host's user cannot see `db`.`hidden`"),
            ])
        );
    }

    #[test]
    fn where_a_view_writes_to_is_read_from_its_statement() {
        let target = |create: &str, uuid: &str| {
            let view = Node { uuid: uuid.into(), ..node("v", "MaterializedView", create, &[]) };
            view.target().map(|target| target.map(|(database, name)| format!("{database}|{name}")))
        };
        let some = |text: &str| Some(Ok(text.to_owned()));
        let id = "a55cd77d-57bb-4913-923b-52a7414af121";
        for (create, uuid, expected) in [
            ("CREATE MATERIALIZED VIEW db.v TO a.b (`x` Int64) AS SELECT 1", id, some("a|b")),
            ("CREATE MATERIALIZED VIEW db.v TO `a.c`.`t\\`(o \\\\` ( x Int64)", id, some("a.c|t`(o \\")),
            ("CREATE MATERIALIZED VIEW db.`v TO x` TO a.b (`TO` Int64)", "", some("a|b")),
            (
                "CREATE MATERIALIZED VIEW db.v (`TO` Int64) ENGINE = MergeTree",
                id,
                some(&format!("db|.inner_id.{id}")),
            ),
            (
                "CREATE MATERIALIZED VIEW db.v TO INNER UUID 'x' (`a` Int64)",
                id,
                some(&format!("db|.inner_id.{id}")),
            ),
            ("CREATE MATERIALIZED VIEW db.v ( id Int64) ENGINE = MergeTree", "", some("db|.inner.v")),
            ("CREATE MATERIALIZED VIEW db.v ( id Int64) ENGINE = MergeTree", NO_UUID, some("db|.inner.v")),
            ("CREATE MATERIALIZED VIEW db.v REFRESH EVERY 1 DAY TO a.b (`x` Int64)", id, None),
        ] {
            assert_eq!(target(create, uuid), expected, "{create}");
        }
        assert!(target("CREATE MATERIALIZED VIEW db.v TO b (x)", id).unwrap().is_err());
    }
}
