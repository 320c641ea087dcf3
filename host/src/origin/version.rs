//! Versions of signed transforms.

use std::fmt;

/// Numbers that a version has at most.
const NUMBERS: usize = 4;

/// Up to four numbers with dots between them; those that are left out are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; NUMBERS]);

impl Version {
    /// Reads `1`, `1.4` or `2026.11.29.1`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut numbers = [0; NUMBERS];
        let mut parts = text.split('.');
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        for (number, part) in numbers.iter_mut().zip(&mut parts) {
            *number = part.parse().ok().filter(|_| digits(part)).ok_or_else(|| mistake(text))?;
        }
        if parts.next().is_some() { Err(mistake(text)) } else { Ok(Version(numbers)) }
    }
}

fn mistake(text: &str) -> String {
    format!("`{text}` is no version: write up to {NUMBERS} numbers with dots, such as 1.4.0")
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let last = self.0.iter().rposition(|number| *number != 0).unwrap_or(0);
        for (at, number) in self.0.iter().enumerate().take(last + 1) {
            let dot = if at == 0 { "" } else { "." };
            write!(f, "{dot}{number}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_in_the_order_of_their_numbers() {
        let version = |text: &str| Version::parse(text).unwrap();
        let ordered = ["0", "0.0.0.1", "0.9", "0.10", "1", "1.0.1", "1.2", "1.10", "2026.11.29.1"];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
        assert_eq!(version("1"), version("1.0.0"));
        for text in ordered {
            assert_eq!(version(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in ["", ".", "1.", ".1", "v1", "1.2.3.4.5", "-1", "+1", "1.x", "4294967296", "1 2"] {
            assert!(Version::parse(text).is_err(), "{text}");
        }
    }
}
