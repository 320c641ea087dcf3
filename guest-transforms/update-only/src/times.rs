//! What the values of columns that are times say.

use rowgate_transform::Cell;
use rowgate_transform::time::{Instant, Unit, parse_iso};

/// How the values of such columns are read: the parameters `unit` and `subsecond`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Reader {
    /// What numbers count; none: it is guessed from each number's size.
    unit: Option<Unit>,
    /// Rounds down to microseconds what is more precise.
    floor: bool,
}

impl Reader {
    /// # Errors
    /// When a value is not one of those allowed.
    pub(crate) fn parse(unit: Option<&str>, subsecond: Option<&str>) -> Result<Self, String> {
        let unit = match unit {
            None | Some("auto") => None,
            Some("s") => Some(Unit::Seconds),
            Some("ms") => Some(Unit::Millis),
            Some("us") => Some(Unit::Micros),
            Some("ns") => Some(Unit::Nanos),
            Some(other) => {
                return Err(format!(
                    "parameter `unit` is `{other}`: it must be `s`, `ms`, `us`, `ns` or `auto`"
                ));
            }
        };
        let floor = match subsecond {
            None | Some("exact") => false,
            Some("floor") => true,
            Some(other) => {
                return Err(format!("parameter `subsecond` is `{other}`: it must be `exact` or `floor`"));
            }
        };
        Ok(Self { unit, floor })
    }

    /// The time that an integer or a text says, in microseconds since 1970.
    ///
    /// # Errors
    /// It says none, or one that cannot be written without loss.
    pub(crate) fn micros(self, cell: Cell<'_>) -> Result<i64, String> {
        let instant = match cell {
            Cell::Int(number) => self.unit.unwrap_or_else(|| Unit::guess(number)).since_1970(number),
            Cell::Text(text) => parse_iso(text),
            _ => None,
        };
        match instant {
            Some(Instant { micros, nanos }) if nanos == 0 || self.floor => Ok(micros),
            Some(_) => Err("more precise than a microsecond; `subsecond=floor` would round it down".into()),
            // Reasons are kept and read by others than those who may see the values.
            None => Err(format!("not a time: {}", form(cell))),
        }
    }
}

/// What a value is that is no time.
fn form(cell: Cell<'_>) -> &'static str {
    match cell {
        Cell::Int(_) => "an integer beyond its unit's range",
        Cell::Text(_) => "text that is not as ISO 8601 has it",
        _ => "a value of another kind",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_the_form_and_not_the_value() {
        let reader = Reader::parse(Some("s"), None).unwrap();
        let reason = |cell| reader.micros(cell).unwrap_err();
        assert_eq!(reason(Cell::Text("Ann\n")), "not a time: text that is not as ISO 8601 has it");
        assert_eq!(reason(Cell::Int(i64::MAX)), "not a time: an integer beyond its unit's range");
    }

    #[test]
    fn what_is_more_precise_is_rounded_only_on_demand() {
        let exact = Reader::parse(None, Some("exact")).unwrap();
        let floor = Reader::parse(Some("auto"), Some("floor")).unwrap();
        let number = Cell::Int(1_700_000_000_123_456_789);
        assert_eq!(
            exact.micros(number),
            Err("more precise than a microsecond; `subsecond=floor` would round it down".to_owned())
        );
        assert_eq!(floor.micros(number), Ok(1_700_000_000_123_456));
        assert_eq!(exact.micros(Cell::Int(1_700_000_000_123_456_000)), Ok(1_700_000_000_123_456));
        assert_eq!(floor.micros(Cell::Text("1969-12-31T23:59:59.999999999Z")), Ok(-1));
        assert!(exact.micros(Cell::Text("1969-12-31T23:59:59.999999999Z")).is_err());
    }

    #[test]
    fn a_unit_that_is_given_is_not_guessed() {
        let read = |unit, number| Reader::parse(Some(unit), None).unwrap().micros(Cell::Int(number));
        assert_eq!(read("s", 1), Ok(1_000_000));
        assert_eq!(read("ms", 1), Ok(1_000));
        assert_eq!(read("us", 1), Ok(1));
        assert_eq!(read("ns", 1_000), Ok(1));
        assert!(read("s", i64::MAX).is_err());
    }

    #[test]
    fn bad_parameters_are_named_with_what_is_allowed() {
        assert_eq!(
            Reader::parse(Some("min"), None),
            Err("parameter `unit` is `min`: it must be `s`, `ms`, `us`, `ns` or `auto`".to_owned())
        );
        assert_eq!(
            Reader::parse(None, Some("ceil")),
            Err("parameter `subsecond` is `ceil`: it must be `exact` or `floor`".to_owned())
        );
    }
}
