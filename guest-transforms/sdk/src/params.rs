//! The parameters that a pipeline gives its transform.

/// Names and values, in the order in which the host gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// From pairs of name and value.
    ///
    /// # Errors
    /// When a name stands there twice.
    pub fn new(pairs: Vec<(String, String)>) -> Result<Self, String> {
        for (at, (name, _)) in pairs.iter().enumerate() {
            if pairs.iter().take(at).any(|(earlier, _)| earlier == name) {
                return Err(format!("parameter `{name}` is given twice"));
            }
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter, where it is given.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// Every parameter.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Checks that every parameter is one of `names`, so that a misspelt one is not ignored.
    ///
    /// # Errors
    /// Names the parameter that is not, and those that are.
    pub fn allow(&self, names: &[&str]) -> Result<(), String> {
        self.allow_with(names, &[])
    }

    /// The same where there are also parameters for each table: those that begin with one of `prefixes`, such
    /// as `key.`, and go on with a table's name.
    ///
    /// # Errors
    /// Names the parameter that is none of these, and those that are.
    pub fn allow_with(&self, names: &[&str], prefixes: &[&str]) -> Result<(), String> {
        let is_known = |given: &str| {
            let for_table = |prefix: &&str| given.len() > prefix.len() && given.starts_with(*prefix);
            names.contains(&given) || prefixes.iter().any(for_table)
        };
        let Some((unknown, _)) = self.0.iter().find(|(name, _)| !is_known(name)) else {
            return Ok(());
        };
        if names.is_empty() && prefixes.is_empty() {
            return Err(format!("unknown parameter `{unknown}`: this transform has none"));
        }
        let names = names.iter().map(|name| format!("`{name}`"));
        let known: Vec<String> =
            names.chain(prefixes.iter().map(|prefix| format!("`{prefix}<table>`"))).collect();
        Err(format!("unknown parameter `{unknown}`: there are {}", known.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Result<Params, String> {
        Params::new(pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    #[test]
    fn a_value_is_found_by_its_name() {
        let params = params(&[("a", "1"), ("b", "")]).unwrap();
        assert_eq!(params.get("a"), Some("1"));
        assert_eq!(params.get("b"), Some(""));
        assert_eq!(params.get("c"), None);
        assert_eq!(params.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "")]);
    }

    #[test]
    fn a_name_given_twice_is_refused() {
        assert_eq!(params(&[("a", "1"), ("b", "2"), ("a", "1")]), Err("parameter `a` is given twice".into()));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let given = params(&[("unit", "s"), ("tiems", "x")]).unwrap();
        assert_eq!(
            given.allow(&["times", "unit"]),
            Err("unknown parameter `tiems`: there are `times`, `unit`".into())
        );
        assert_eq!(given.allow(&[]), Err("unknown parameter `unit`: this transform has none".into()));
        assert_eq!(given.allow(&["unit", "tiems"]), Ok(()));
    }

    #[test]
    fn a_name_may_go_on_with_a_tables() {
        let given = params(&[("key.public.orders", "id"), ("key.", "x")]).unwrap();
        assert_eq!(
            given.allow_with(&["key"], &["key."]),
            Err("unknown parameter `key.`: there are `key`, `key.<table>`".into())
        );
        let given = params(&[("key", "id"), ("key.orders", "x")]).unwrap();
        assert_eq!(given.allow_with(&["key"], &["key."]), Ok(()));
    }
}
