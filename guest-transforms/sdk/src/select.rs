//! Which tables and columns a transform is to take, as parameters that several transforms share.
//!
//! A pattern is a name with any number of `*` for any characters, and upper and lower case differ. One without
//! a dot is compared with the bare name of a table or column. One with a dot is also compared with the name
//! behind that of what it belongs to: `orders.id`, `public.orders.id` and `shop.public.orders.id`, in which the
//! source's schema is left out where there is none.

use crate::{Field, Params, Table};

/// Columns that the host adds to the tables it writes, and that no output may have.
pub const RESERVED: [&str; 7] =
    ["_topic", "_partition", "_offset", "_seq", "_transform", "_version", "_is_deleted"];

/// Patterns with commas between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Patterns(Vec<String>);

impl Patterns {
    /// Reads the value of a parameter; an empty one is no pattern.
    ///
    /// # Errors
    /// Names the parameter, when there is nothing between two commas.
    pub fn parse(parameter: &str, value: &str) -> Result<Self, String> {
        if value.trim().is_empty() {
            return Ok(Self::default());
        }
        list(parameter, value).map(Self)
    }

    /// Whether one of them is a pattern of a bare name.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| matches(pattern, name))
    }

    /// Whether one of them is a pattern of a table.
    pub fn contains_table(&self, table: &Table) -> bool {
        self.contains_any(&table.name, &qualified(table))
    }

    fn contains_any(&self, name: &str, qualified: &[String]) -> bool {
        self.0.iter().any(|pattern| {
            matches(pattern, name)
                || (pattern.contains('.') && qualified.iter().any(|name| matches(pattern, name)))
        })
    }
}

/// The tables that are taken: the parameters `tables` and `exclude_tables`, both patterns. Without `tables`, all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tables {
    only: Option<Patterns>,
    except: Patterns,
}

impl Tables {
    /// The parameters that it reads.
    pub const PARAMS: [&str; 2] = ["tables", "exclude_tables"];

    /// Reads the parameters.
    ///
    /// # Errors
    /// Names the parameter that is no list of patterns.
    pub fn configure(params: &Params) -> Result<Self, String> {
        let [only, except] = Self::PARAMS;
        Ok(Self { only: given(params, only)?, except: given(params, except)?.unwrap_or_default() })
    }

    /// Whether a table is taken.
    pub fn contains(&self, table: &Table) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains_table(table)) && !self.except.contains_table(table)
    }
}

/// The columns that are taken: the parameters `include` and `exclude`, both patterns. Without `include`, all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    only: Option<Patterns>,
    except: Patterns,
}

impl Columns {
    /// The parameters that it reads.
    pub const PARAMS: [&str; 2] = ["include", "exclude"];

    /// Reads the parameters.
    ///
    /// # Errors
    /// Names the parameter that is no list of patterns.
    pub fn configure(params: &Params) -> Result<Self, String> {
        let [only, except] = Self::PARAMS;
        Ok(Self { only: given(params, only)?, except: given(params, except)?.unwrap_or_default() })
    }

    /// Whether a column is taken.
    pub fn contains(&self, table: &Table, field: &Field) -> bool {
        self.leaves_out(table, field).is_none()
    }

    /// The parameter that leaves a column out; none where it is taken.
    pub fn leaves_out(&self, table: &Table, field: &Field) -> Option<&'static str> {
        let mut names = qualified(table);
        names.push(table.name.clone());
        for name in &mut names {
            name.push('.');
            name.push_str(&field.name);
        }
        let is_in = |patterns: &Patterns| patterns.contains_any(&field.name, &names);
        let [only, except] = Self::PARAMS;
        if is_in(&self.except) {
            return Some(except);
        }
        self.only.as_ref().is_some_and(|patterns| !is_in(patterns)).then_some(only)
    }
}

/// What identifies a row: the parameter `key.<table>` for one table, or `key` for all others, each names of
/// columns with commas between them; otherwise what the source says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys {
    /// The parameter, the table that it is for, and its columns.
    of: Vec<(String, Option<String>, Vec<String>)>,
}

impl Keys {
    /// The parameter for all tables.
    pub const PARAM: &'static str = "key";
    /// How the parameters for one table begin.
    pub const PREFIX: &'static str = "key.";

    /// Reads the parameters.
    ///
    /// # Errors
    /// Names the parameter that is empty, or has a column twice.
    pub fn configure(params: &Params) -> Result<Self, String> {
        let mut keys = Self::default();
        for (name, value) in params.iter() {
            let table = name.strip_prefix(Self::PREFIX).map(str::to_owned);
            if name != Self::PARAM && table.is_none() {
                continue;
            }
            let columns = list(name, value)?;
            if let Some(twice) = repeated(&columns) {
                return Err(format!("parameter `{name}` has the column `{twice}` twice"));
            }
            keys.of.push((name.to_owned(), table, columns));
        }
        Ok(keys)
    }

    /// The fields of a table that identify a row, as indices into `table.fields`. None where neither a
    /// parameter nor the source names any.
    ///
    /// # Errors
    /// Names the parameter that names a column that the table does not have.
    pub fn of(&self, table: &Table) -> Result<Vec<u32>, String> {
        let fields = || table.fields.iter().zip(0..);
        let Some((parameter, columns)) = self.parameter(table) else {
            return Ok(fields().filter(|(field, _)| field.key).map(|(_, at)| at).collect());
        };
        let at = |column: &String| {
            let field = fields().find(|(field, _)| field.name == *column);
            field.map(|(_, at)| at).ok_or_else(|| {
                format!(
                    "parameter `{parameter}` names `{column}`, which table `{}` does not have",
                    table.name
                )
            })
        };
        columns.iter().map(at).collect()
    }

    /// The one that holds for a table: the longest name of it that there is a parameter for.
    fn parameter(&self, table: &Table) -> Option<(&str, &[String])> {
        let qualified = qualified(table);
        let names = qualified.iter().rev().chain([&table.name]).map(Some).chain([None]);
        let found = names.into_iter().find_map(|name| self.of.iter().find(|(_, of, _)| of.as_ref() == name));
        found.map(|(parameter, _, columns)| (parameter.as_str(), columns.as_slice()))
    }
}

/// The names of a table behind those of what it is in, from short to long: `public.orders`,
/// `shop.public.orders`. What is empty is left out.
pub fn qualified(table: &Table) -> Vec<String> {
    let mut name = table.name.clone();
    let mut names = Vec::new();
    for outer in [&table.schema, &table.database] {
        if !outer.is_empty() {
            name = format!("{outer}.{name}");
            names.push(name.clone());
        }
    }
    names
}

/// A name for an output's column that is neither in `taken` nor that of another column of the source: its own,
/// or else with `source_` before it, as often as it takes.
pub fn free_name(name: &str, taken: &[&str], fields: &[Field]) -> String {
    let mut free = name.to_owned();
    while taken.contains(&free.as_str()) || (free != name && fields.iter().any(|field| field.name == free)) {
        free = format!("source_{free}");
    }
    free
}

/// The first text that stands there before.
pub fn repeated<T: PartialEq>(texts: &[T]) -> Option<&T> {
    texts
        .iter()
        .enumerate()
        .find(|(at, text)| texts.iter().take(*at).any(|earlier| earlier == *text))
        .map(|(_, text)| text)
}

fn given(params: &Params, parameter: &str) -> Result<Option<Patterns>, String> {
    params.get(parameter).map(|value| Patterns::parse(parameter, value)).transpose()
}

/// What stands between commas.
fn list(parameter: &str, value: &str) -> Result<Vec<String>, String> {
    let names: Vec<String> = value.split(',').map(|name| name.trim().to_owned()).collect();
    if names.iter().any(String::is_empty) {
        return Err(format!(
            "parameter `{parameter}` is `{value}`: it must be names with commas between them, such as `id,paid_at`"
        ));
    }
    Ok(names)
}

/// Whether a name is what a pattern says.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.as_bytes().split(|&byte| byte == b'*');
    // There is a first part always, and a last one beside it only where there is a `*`.
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.as_bytes().strip_prefix(first) else { return false };
    let Some(end) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        let found = (0..=rest.len()).find_map(|at| rest.get(at..)?.strip_prefix(part));
        let Some(after) = found else { return false };
        rest = after;
    }
    rest.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::testing::TableBuilder;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::new(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
            .unwrap()
    }

    /// `app.public.orders`.
    fn orders() -> Table {
        TableBuilder::new("orders")
            .key("id", Kind::Int)
            .column("note", Kind::Text)
            .column("orders", Kind::Int)
            .build()
    }

    fn taken(pairs: &[(&str, &str)]) -> Vec<String> {
        let columns = Columns::configure(&params(pairs)).unwrap();
        let table = orders();
        let taken = table.fields.iter().filter(|field| columns.contains(&table, field));
        taken.map(|field| field.name.clone()).collect()
    }

    #[test]
    fn a_pattern_matches_names() {
        for (pattern, name) in [
            ("a", "a"),
            ("*_at", "created_at"),
            ("*_at", "_at"),
            ("created*", "created"),
            ("*", ""),
            ("*", "anything"),
            ("a*b*c", "abc"),
            ("a*b*c", "a-b-b-c"),
            ("**x", "x"),
            ("a*a", "aa"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("a", "ab"),
            ("a", "ba"),
            ("", "a"),
            ("*_at", "created_at_"),
            ("*_at", "CREATED_AT"),
            ("a*b*c", "acb"),
            ("a*a", "a"),
            ("ab*bc", "abc"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_are_separated_by_commas() {
        let patterns = Patterns::parse("times", " a , *_at").unwrap();
        assert!(patterns.contains("a") && patterns.contains("b_at") && !patterns.contains("b"));
        assert!(!Patterns::parse("times", "").unwrap().contains("a_at"));
        let reason = Patterns::parse("times", "a,,b").unwrap_err();
        assert!(reason.starts_with("parameter `times` is `a,,b`: it must be names"), "{reason}");
    }

    #[test]
    fn columns_are_taken_by_name_or_behind_the_table() {
        assert_eq!(taken(&[]), ["id", "note", "orders"]);
        assert_eq!(taken(&[("include", "id,no*")]), ["id", "note"]);
        assert_eq!(taken(&[("exclude", "*")]), [""; 0]);
        assert_eq!(taken(&[("include", "orders.*"), ("exclude", "orders.note")]), ["id", "orders"]);
        assert_eq!(taken(&[("exclude", "public.orders.note,app.public.orders.id,other.orders")]), ["orders"]);
        // Without a dot it is no table's name.
        assert_eq!(taken(&[("exclude", "orders*")]), ["id", "note"]);
    }

    #[test]
    fn the_parameter_that_leaves_a_column_out_is_known() {
        let table = orders();
        let columns = Columns::configure(&params(&[("include", "id,note"), ("exclude", "note")])).unwrap();
        let by: Vec<_> = table.fields.iter().map(|field| columns.leaves_out(&table, field)).collect();
        assert_eq!(by, [None, Some("exclude"), Some("include")]);
    }

    #[test]
    fn tables_are_taken_by_name_or_behind_their_schema_and_database() {
        let is_taken =
            |pairs: &[(&str, &str)]| Tables::configure(&params(pairs)).unwrap().contains(&orders());
        for pairs in [
            &[][..],
            &[("tables", "orders")],
            &[("tables", "customers, public.*")],
            &[("tables", "app.public.orders"), ("exclude_tables", "public")],
        ] {
            assert!(is_taken(pairs), "{pairs:?}");
        }
        for pairs in [
            &[("tables", "order")][..],
            &[("tables", "")],
            &[("exclude_tables", "ord*")],
            &[("tables", "orders"), ("exclude_tables", "public.orders")],
        ] {
            assert!(!is_taken(pairs), "{pairs:?}");
        }
    }

    #[test]
    fn the_key_is_the_sources_unless_a_parameter_names_another() {
        let key = |pairs: &[(&str, &str)]| Keys::configure(&params(pairs)).unwrap().of(&orders());
        assert_eq!(key(&[]), Ok(vec![0]));
        assert_eq!(key(&[("key", "note, id")]), Ok(vec![1, 0]));
        assert_eq!(key(&[("key", "note"), ("key.customers", "x")]), Ok(vec![1]));
        assert_eq!(
            key(&[("key", "x"), ("key.orders", "note"), ("key.public.orders", "orders")]),
            Ok(vec![2])
        );
        assert_eq!(
            key(&[("key.orders", "uid")]),
            Err("parameter `key.orders` names `uid`, which table `orders` does not have".to_owned())
        );
    }

    #[test]
    fn a_key_that_is_none_is_refused() {
        let reason = |value| Keys::configure(&params(&[("key.t", value)])).unwrap_err();
        assert!(reason("").starts_with("parameter `key.t` is ``: it must be names"));
        assert_eq!(reason("a,b,a"), "parameter `key.t` has the column `a` twice");
    }

    #[test]
    fn a_table_without_a_schema_is_named_behind_its_database() {
        let mut table = orders();
        table.schema.clear();
        assert_eq!(qualified(&table), ["app.orders"]);
        table.database.clear();
        assert_eq!(qualified(&table), [""; 0]);
    }
}
