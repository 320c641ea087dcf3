//! Which tables a transform may write to.

use std::fmt;

use crate::clickhouse::names::shown;

/// What the names of the host's own tables begin with: no transform writes there.
pub const OWN_PREFIX: &str = "_rowgate_";

/// The tables that a transform may write to: all, or those of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables(Vec<Pattern>);

/// A name, or what names begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pattern {
    /// The table of this name.
    Name(String),
    /// All tables whose names begin so.
    Prefix(String),
}

impl Pattern {
    /// Reads `name` or `prefix*`.
    ///
    /// # Errors
    /// Says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (name, is_prefix) = text.strip_suffix('*').map_or((text, false), |prefix| (prefix, true));
        if name.contains('*') || name.chars().any(char::is_control) || (name.is_empty() && !is_prefix) {
            return Err(format!(
                "{} is neither a table's name nor a prefix of names with one `*` at its end",
                shown(text)
            ));
        }
        if name.starts_with(OWN_PREFIX) {
            return Err(format!("{}: tables that begin with `{OWN_PREFIX}` are the host's own", shown(text)));
        }
        Ok(if is_prefix { Pattern::Prefix(name.to_owned()) } else { Pattern::Name(name.to_owned()) })
    }

    fn takes(&self, table: &str) -> bool {
        match self {
            Pattern::Name(name) => name == table,
            Pattern::Prefix(prefix) => table.starts_with(prefix.as_str()),
        }
    }

    fn overlaps(&self, other: &Pattern) -> bool {
        match (self, other) {
            (Pattern::Name(name), pattern) | (pattern, Pattern::Name(name)) => pattern.takes(name),
            (Pattern::Prefix(one), Pattern::Prefix(other)) => {
                one.starts_with(other.as_str()) || other.starts_with(one.as_str())
            }
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Pattern::Name(name) => f.write_str(name),
            Pattern::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl Tables {
    /// Those of `patterns`; all where there is none.
    pub fn new(patterns: Vec<Pattern>) -> Self {
        Tables(patterns)
    }

    /// Whether a table is among them.
    pub fn has(&self, table: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.takes(table))
    }

    /// Whether a transform may write to a table.
    ///
    /// # Errors
    /// Why it may not.
    pub fn check(&self, table: &str) -> Result<(), String> {
        if table.starts_with(OWN_PREFIX) {
            return Err(format!(
                "the table {} is the host's own, as all that begin with `{OWN_PREFIX}`",
                shown(table)
            ));
        }
        match self.has(table) {
            true => Ok(()),
            false => Err(format!(
                "the table {} is none of those that this pipeline may write to (`tables`)",
                shown(table)
            )),
        }
    }

    /// Whether there may be a table that is among both.
    pub fn overlap(&self, other: &Tables) -> bool {
        self.0.is_empty()
            || other.0.is_empty()
            || self.0.iter().any(|one| other.0.iter().any(|two| one.overlaps(two)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tables(patterns: &[&str]) -> Tables {
        Tables::new(patterns.iter().map(|text| Pattern::parse(text).unwrap()).collect())
    }

    #[test]
    fn a_list_has_its_names_and_what_begins_with_its_prefixes_and_no_list_has_all() {
        let some = tables(&["orders", "acme_*"]);
        for (table, has) in [
            ("orders", true),
            ("acme_", true),
            ("acme_x", true),
            ("order", false),
            ("orders2", false),
            ("Acme_x", false),
        ] {
            assert_eq!(some.check(table).is_ok(), has, "{table}");
        }
        assert!(tables(&[]).check("anything").is_ok() && tables(&["*"]).check("anything").is_ok());
    }

    #[test]
    fn the_hosts_own_tables_are_nobodys() {
        for list in [tables(&[]), tables(&["*"]), tables(&["_*"])] {
            assert!(list.check("_rowgate_dead_letters").unwrap_err().contains("the host's own"));
        }
        for wrong in ["_rowgate_audit", "_rowgate_*", "a*b", "**", "", "a\n"] {
            assert!(Pattern::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn two_lists_overlap_where_a_table_may_be_in_both() {
        for (one, other, overlap) in [
            (&["a_*"][..], &["b_*"][..], false),
            (&["a_*"], &["a_b*"], true),
            (&["a"], &["a_*"], false),
            (&["a_x"], &["b", "a_*"], true),
            (&["a"], &["a"], true),
            (&["a"], &[], true),
            (&["*"], &["a"], true),
        ] {
            assert_eq!(tables(one).overlap(&tables(other)), overlap, "{one:?} {other:?}");
            assert_eq!(tables(other).overlap(&tables(one)), overlap, "{other:?} {one:?}");
        }
    }

    proptest! {
        #[test]
        fn what_does_not_overlap_has_no_table_in_common(one in "[ab]{1,3}[*]?", other in "[ab]{1,3}[*]?", table in "[ab]{0,4}") {
            let (one, other) = (tables(&[&one]), tables(&[&other]));
            prop_assert!(one.overlap(&other) || !(one.has(&table) && other.has(&table)));
        }
    }
}
