//! What the server answers about letters, in `RowBinary`: of bytes that say how long they are, nothing is lost.

use super::filter::Place;

/// Letters that are alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their pipeline.
    pub pipeline: String,
    /// Their topic.
    pub topic: String,
    /// Where they failed.
    pub stage: String,
    /// Their reason, with `#` for each number.
    pub reason: String,
    /// How many they are.
    pub count: u64,
    /// When the first of them was kept, in UTC.
    pub first: String,
    /// When the last of them was kept.
    pub last: String,
}

/// A letter without the record's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outline {
    /// The record's place.
    pub place: Place,
    /// Where it failed.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// When it was kept, in UTC: more than once, where the record was read again; ascending.
    pub kept: Vec<String>,
    /// How large the record is.
    pub bytes: u64,
}

/// A letter with its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The record's offset.
    pub offset: i64,
    /// When it was kept, in UTC.
    pub kept: String,
    /// The record's timestamp, as the server shows it in UTC.
    pub timestamp: Option<String>,
    /// The record's key.
    pub key: Option<Vec<u8>>,
    /// The record's value.
    pub value: Option<Vec<u8>>,
    /// Where it failed.
    pub stage: String,
    /// Why.
    pub reason: String,
    /// Digest of the transform that ran.
    pub transform: String,
    /// The record's headers, as they stand in the table.
    pub headers: String,
    /// Which life of the topic it is of; see [`crate::epochs`].
    pub epoch: u16,
}

impl Letter {
    /// The record's timestamp in milliseconds since 1970; none where it had none, or none that can be read.
    pub fn timestamp_ms(&self) -> Option<i64> {
        let text = self.timestamp.as_deref()?;
        let utc = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
        let at = text.parse::<jiff::Timestamp>().ok().or_else(|| Some(utc()?.timestamp()))?;
        Some(at.as_millisecond())
    }
}

/// What was done about a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The letter.
    pub letter: String,
    /// What.
    pub how: String,
    /// The transform's digest.
    pub transform: String,
    /// Who did it.
    pub by: String,
    /// Why, or what came of it.
    pub reason: String,
    /// When, in UTC.
    pub at: String,
}

/// Reads the rows of an answer.
///
/// # Errors
/// An answer that ends within a row.
pub fn rows<T>(answer: &[u8], row: impl Fn(&mut Reader<'_>) -> Result<T, String>) -> Result<Vec<T>, String> {
    let mut reader = Reader { bytes: answer };
    let mut rows = Vec::new();
    while !reader.bytes.is_empty() {
        rows.push(row(&mut reader)?);
    }
    Ok(rows)
}

/// An answer that is being read.
pub struct Reader<'b> {
    bytes: &'b [u8],
}

type Read<T> = Result<T, String>;

impl Reader<'_> {
    fn take(&mut self, count: usize) -> Read<&[u8]> {
        let (taken, rest) =
            self.bytes.split_at_checked(count).ok_or("the server's answer ends within a row")?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| "the server's answer ends within a row".to_owned())
    }

    fn length(&mut self) -> Read<usize> {
        let mut number = 0_u64;
        for shift in (0..63).step_by(7) {
            let [byte] = self.array()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return usize::try_from(number).map_err(|_| "the server's answer has no end".to_owned());
            }
        }
        Err("the server's answer has no end".to_owned())
    }

    fn bytes(&mut self) -> Read<Vec<u8>> {
        let length = self.length()?;
        self.take(length).map(<[u8]>::to_vec)
    }

    /// Text; what is none in it is replaced.
    pub fn text(&mut self) -> Read<String> {
        self.bytes().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A `UInt64` that is an offset.
    pub fn offset(&mut self) -> Read<i64> {
        i64::try_from(self.number()?).map_err(|_| "an offset is too large".to_owned())
    }

    /// A `UInt64`.
    pub fn number(&mut self) -> Read<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn nullable(&mut self) -> Read<Option<Vec<u8>>> {
        match self.array()? {
            [0] => self.bytes().map(Some),
            _ => Ok(None),
        }
    }

    fn texts(&mut self) -> Read<Vec<String>> {
        (0..self.length()?).map(|_| self.text()).collect()
    }

    /// A [`Group`]: its members in their order.
    pub fn group(&mut self) -> Read<Group> {
        Ok(Group {
            pipeline: self.text()?,
            topic: self.text()?,
            stage: self.text()?,
            reason: self.text()?,
            count: self.number()?,
            first: self.text()?,
            last: self.text()?,
        })
    }

    /// An [`Outline`]: its members in their order.
    pub fn outline(&mut self) -> Read<Outline> {
        let topic = self.text()?;
        let partition = u32::from_le_bytes(self.array()?);
        let partition = i32::try_from(partition).map_err(|_| "a partition is too large".to_owned())?;
        let place = Place { topic, partition, offset: self.offset()? };
        Ok(Outline {
            place,
            stage: self.text()?,
            reason: self.text()?,
            kept: self.texts()?,
            bytes: self.number()?,
        })
    }

    /// A [`Letter`]: its members in their order.
    pub fn letter(&mut self) -> Read<Letter> {
        Ok(Letter {
            offset: self.offset()?,
            kept: self.text()?,
            timestamp: self.nullable()?.map(|text| String::from_utf8_lossy(&text).into_owned()),
            key: self.nullable()?,
            value: self.nullable()?,
            stage: self.text()?,
            reason: self.text()?,
            transform: self.text()?,
            headers: self.text()?,
            epoch: u16::from_le_bytes(self.array()?),
        })
    }

    /// A [`Done`]: its members in their order.
    pub fn done(&mut self) -> Read<Done> {
        Ok(Done {
            letter: self.text()?,
            how: self.text()?,
            transform: self.text()?,
            by: self.text()?,
            reason: self.text()?,
            at: self.text()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter() -> Vec<u8> {
        let mut bytes = 7_u64.to_le_bytes().to_vec();
        bytes.extend(b"\x0142");
        bytes.extend(b"\0\x032026"); // cut below
        bytes
    }

    #[test]
    fn rows_are_read_to_the_end_of_the_answer_and_no_further() {
        let mut bytes = Vec::new();
        for offset in [5_u64, 6] {
            bytes.extend(offset.to_le_bytes());
            bytes.extend(b"\x04kept\x01\0\x01k\0\x02\xff\0\x06decode\x03why\x03abc\0\x02\0");
        }
        let letters = rows(&bytes, |reader| reader.letter()).unwrap();
        assert_eq!(letters.len(), 2);
        assert_eq!((letters[1].offset, letters[1].timestamp.as_deref()), (6, None));
        assert_eq!(letters[0].key.as_deref(), Some(&b"k"[..]));
        assert_eq!(letters[0].value.as_deref(), Some(&b"\xff\0"[..]));
        assert_eq!((letters[0].reason.as_str(), letters[0].headers.as_str()), ("why", ""));
        assert_eq!(letters[0].epoch, 2);
        assert!(rows(&bytes[..bytes.len() - 1], |reader| reader.letter()).is_err());
        assert!(rows(&letter(), |reader| reader.letter()).is_err());
    }

    #[test]
    fn timestamps_are_read_as_new_and_old_servers_show_them() {
        let at = |text: &str| {
            let bytes = b"\x05\0\0\0\0\0\0\0\x01k\x01\x01\x01\0\0\0\0\0\0";
            let mut letter = rows(bytes, |reader| reader.letter()).unwrap().remove(0);
            letter.timestamp = Some(text.to_owned());
            letter.timestamp_ms()
        };
        for text in ["1970-01-01 00:00:01.500", "1970-01-01T00:00:01.5Z", "1970-01-01T00:00:01.500"] {
            assert_eq!(at(text), Some(1_500), "{text}");
        }
        assert_eq!(at("yesterday"), None);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = (rows(&bytes, |reader| reader.letter()), rows(&bytes, |reader| reader.outline()));
            let _ = (rows(&bytes, |reader| reader.group()), rows(&bytes, |reader| reader.done()));
        }
    }
}
