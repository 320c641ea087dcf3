//! The keys of objects: which ones to expect, and whether one comes twice.
//!
//! Nearly every record has the keys of the record before it. Those are remembered as they stood: keys that
//! come again in that order are recognised by one comparison each, and need no proof that they differ.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::batch::Span;

use super::lanes::{LOOK, Look};
use super::{Json, Member};

/// Up to here comparing all pairs of hashes is cheaper than sorting them.
const PAIRWISE: usize = 128;
/// How many objects of a record are remembered.
const MAX_OBJECTS: usize = 256;
/// How many keys of one object are.
const MAX_KEYS: usize = 1_000;
/// Longer keys are not remembered, counted with their quotes and colon.
pub(super) const MAX_KEY_BYTES: usize = 63;

/// How many lists of keys all scanners have learned.
static LEARNED: AtomicU64 = AtomicU64::new(1);

/// The keys of the taped objects of earlier records, by the way to the object from the root.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// The record's own object is the first.
    objects: Vec<Object>,
    /// Nothing more fits, and something in it is out of use.
    stale: bool,
}

/// The keys of an object, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysId(u64);

/// The keys of an object in an earlier record, which had no duplicates.
#[derive(Debug, Default)]
struct Object {
    keys: Vec<Known>,
    id: u64,
    /// The last object had others.
    missed: bool,
}

/// A key with its quotes and a colon.
#[derive(Debug)]
pub(super) struct Known {
    /// Its first bytes, then zeros.
    pub start: Look,
    /// A bit for each byte of `start` that is the key's.
    pub mask: u32,
    /// How many bytes it has, at most [`MAX_KEY_BYTES`].
    pub length: u8,
    /// Whether it has escapes.
    pub escaped: bool,
    /// What does not fit into `start`.
    pub rest: Box<[u8]>,
    /// The object that was its value.
    inside: Option<u32>,
}

impl Memory {
    /// To be called before each record.
    pub(super) fn begin(&mut self) {
        if self.stale {
            *self = Memory::default();
        }
    }

    /// The record's own object.
    pub(super) fn root(&mut self) -> u32 {
        if self.objects.is_empty() {
            self.objects.push(Object::default());
        }
        0
    }

    /// The object that is the value of a key that was as remembered; keys are counted from 0.
    pub(super) fn inside(&mut self, object: u32, key: u32) -> Option<u32> {
        let next = self.objects.len();
        let key = self.objects.get_mut(object as usize)?.keys.get_mut(key as usize)?;
        if key.inside.is_none() && next < MAX_OBJECTS {
            key.inside = Some(next as u32);
            self.objects.push(Object::default());
            return Some(next as u32);
        }
        key.inside
    }

    /// The keys of an object.
    #[inline(always)]
    pub(super) fn keys(&self, object: Option<u32>) -> &[Known] {
        let object = object.and_then(|object| self.objects.get(object as usize));
        object.map_or(&[], |object| &object.keys)
    }

    /// An object's keys were as remembered, so many of them; which those are if they were all.
    #[inline(always)]
    pub(super) fn keep(&mut self, object: Option<u32>, keys: u32) -> Option<KeysId> {
        let object = self.objects.get_mut(object? as usize)?;
        object.missed = false;
        (object.keys.len() == keys as usize).then_some(KeysId(object.id))
    }

    /// An object's keys were others than remembered, and none comes twice. They take the place of those when
    /// that happens twice in a row: records of two tables may alternate.
    pub(super) fn learn(&mut self, object: Option<u32>, bytes: &[u8], keys: &[(Span, bool)]) {
        let full = self.objects.len() >= MAX_OBJECTS;
        let Some(object) = object.and_then(|object| self.objects.get_mut(object as usize)) else { return };
        if !object.keys.is_empty() && !object.missed {
            object.missed = true;
            return;
        }
        self.stale |= full && object.keys.iter().any(|key| key.inside.is_some());
        (object.missed, object.id) = (false, LEARNED.fetch_add(1, Ordering::Relaxed));
        object.keys.clear();
        let known = keys.iter().map_while(|key| Known::new(bytes, *key));
        object.keys.extend(known.take(MAX_KEYS));
    }
}

impl Known {
    /// None for a key that is too long, or has space before its colon.
    fn new(bytes: &[u8], (key, escaped): (Span, bool)) -> Option<Self> {
        let text = bytes.get((key.start as usize).checked_sub(1)?..key.end as usize + 2)?;
        if !text.ends_with(b"\":") || text.len() > MAX_KEY_BYTES {
            return None;
        }
        let (head, rest) = text.split_at_checked(LOOK).unwrap_or((text, &[]));
        let mut start = [0; LOOK];
        start.iter_mut().zip(head).for_each(|(start, byte)| *start = *byte);
        let mask = ((1_u64 << head.len()) - 1) as u32;
        Some(Known { start, mask, length: text.len() as u8, escaped, rest: rest.into(), inside: None })
    }
}

#[inline(always)]
fn hash(key: &[u8]) -> u32 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mix = |sum: u64, part: u64| (sum.rotate_left(23) ^ part).wrapping_mul(FACTOR);
    let mut sum = key.len() as u64;
    // The last part may overlap the one before it, which harms no hash.
    if let (Some(_), Some(last)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        let (chunks, _) = key.as_chunks::<8>();
        for chunk in chunks {
            sum = mix(sum, u64::from_le_bytes(*chunk));
        }
        sum = mix(sum, u64::from_le_bytes(*last));
    } else if let (Some(first), Some(last)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        sum = mix(sum, u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last)));
    } else if let (Some(first), Some(last)) = (key.first(), key.last()) {
        let middle = key.get(key.len() / 2).unwrap_or(first);
        sum = mix(sum, u64::from_le_bytes([*first, *middle, *last, 0, 0, 0, 0, 0]));
    }
    (sum >> 32) as u32
}

fn key_bytes(bytes: &[u8], (key, escaped): (Span, bool)) -> Cow<'_, [u8]> {
    Member { key, escaped, json: Json::Null, value: key, next: 0 }.name(bytes)
}

/// Whether two of an object's keys are the same; equal hashes alone prove nothing. `hashes` is overwritten.
pub(super) fn has_duplicate(bytes: &[u8], keys: &[(Span, bool)], hashes: &mut Vec<u32>) -> bool {
    hashes.clear();
    hashes.extend(keys.iter().map(|&(key, escaped)| match escaped {
        true => hash(&key_bytes(bytes, (key, true))),
        false => hash(key.of(bytes)),
    }));
    if hashes.len() > PAIRWISE {
        return has_duplicate_sorted(bytes, hashes, keys);
    }
    // One bit for each of 512 classes of hashes clears nearly every key of a usual object.
    let mut seen = [0_u64; 8];
    for (index, &hash) in hashes.iter().enumerate() {
        let (word, bit) = (&mut seen[(hash >> 29) as usize], 1 << (hash >> 23 & 63));
        if *word & bit != 0 && hashes[..index].contains(&hash) {
            let key = key_bytes(bytes, keys[index]);
            if (0..index).any(|other| hashes[other] == hash && key_bytes(bytes, keys[other]) == key) {
                return true;
            }
        }
        *word |= bit;
    }
    false
}

fn has_duplicate_sorted(bytes: &[u8], hashes: &[u32], keys: &[(Span, bool)]) -> bool {
    let mut order: Vec<(u32, u32)> = hashes.iter().copied().zip(0..).collect();
    order.sort_unstable();
    order.chunk_by(|a, b| a.0 == b.0).filter(|run| run.len() > 1).any(|run| {
        // Sorted again, so that keys made to collide cost no more than others.
        let mut names: Vec<_> =
            run.iter().map(|(_, index)| key_bytes(bytes, keys[*index as usize])).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair[0] == pair[1])
    })
}
