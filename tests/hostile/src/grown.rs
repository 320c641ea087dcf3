//! Components that grow out of a seed: random ones, good ones with a fault, and answers that point anywhere.

use anyhow::{Context as _, Result};
use fastrand::Rng;

use crate::bombs;
use crate::code::Code;
use crate::forge::{Forge, escaped, sections};
use crate::guest;

/// A kind of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// Random code behind the functions of the contract.
    Random,
    /// A shipped transform with bytes flipped, or sections swapped, doubled or left out.
    Mutated,
    /// A good transform whose plan and answer have other words in them.
    Lifted,
    /// Small, and costly to compile.
    Bombs,
}

/// All of them.
pub const FAMILIES: [(&str, Family); 4] = [
    ("random", Family::Random),
    ("mutated", Family::Mutated),
    ("lifted", Family::Lifted),
    ("bombs", Family::Bombs),
];

/// Shipped transforms, to be spoiled.
const SHIPPED: [&str; 4] = ["update_only", "all_changes", "mirror", "audit"];

impl Family {
    /// The component that grows out of `seed`; always the same.
    ///
    /// # Errors
    /// Where a shipped transform cannot be read.
    pub fn component(self, seed: u64) -> Result<Vec<u8>> {
        let mut rng = Rng::with_seed(seed);
        match self {
            Family::Random => Ok(random(&mut rng)),
            Family::Mutated => mutated(&mut rng),
            Family::Lifted => Ok(lifted(&mut rng)),
            Family::Bombs => Ok(bombs::grown(&mut rng)),
        }
    }

    /// How many are tried where `count` are asked for: a bomb takes as long as many others.
    pub fn share(self, count: usize) -> usize {
        if self == Family::Bombs { count.div_ceil(50) } else { count }
    }
}

fn random(rng: &mut Rng) -> Vec<u8> {
    let expressions = 1 << rng.u32(4..11);
    let odd = rng.bool();
    let mut code = Code::new(rng, expressions);
    let more = code.functions();
    let bodies = [(); 4].map(|()| code.body(0));
    let [configure, prepare, apply, realloc] = &bodies;
    // In a half of them only what comes after a good start is random: the others hardly come so far.
    let forge = Forge { more: &more, apply, ..Forge::default() };
    match odd {
        true => Forge { configure, prepare, realloc, ..forge }.component(),
        false => forge.component(),
    }
}

fn mutated(rng: &mut Rng) -> Result<Vec<u8>> {
    let path = guest(SHIPPED[rng.usize(..SHIPPED.len())]);
    let mut bytes = std::fs::read(&path).with_context(|| format!("{}: run `make guests`", path.display()))?;
    if rng.bool() {
        for _ in 0..1 << rng.u32(0..6) {
            let at = rng.usize(..bytes.len());
            bytes[at] ^= 1 << rng.u32(..8);
        }
        return Ok(bytes);
    }
    let mut parts: Vec<Vec<u8>> =
        sections(&bytes).into_iter().map(|(_, range)| bytes[range].to_vec()).collect();
    for _ in 0..rng.usize(1..4) {
        let (one, other) = (rng.usize(..parts.len()), rng.usize(..parts.len()));
        match rng.u8(..3) {
            0 => parts.swap(one, other),
            1 => parts.insert(one, parts[other].clone()),
            _ => _ = parts.remove(one),
        }
    }
    Ok([&bytes[..8], &parts.concat()].concat())
}

/// Where plans and answers lie: words of it are lengths, places, cases, or no words.
fn lifted(rng: &mut Rng) -> Vec<u8> {
    const ODD: [u32; 10] = [0, 1, 2, 3, 4, 7, 0x7fff_ffff, 0x8000_0000, 0xffff_fffc, 0xffff_ffff];
    let mut more = String::new();
    for _ in 0..rng.usize(1..5) {
        let at = match rng.u8(..4) {
            0 => rng.u32(1024..1172),
            1 => rng.u32(2048..2156),
            2 => 1024 + 4 * rng.u32(..37),
            _ => 2048 + 4 * rng.u32(..27),
        };
        let word = match rng.u8(..4) {
            0 => ODD[rng.usize(..ODD.len())],
            1 => rng.u32(..131_072),
            2 => rng.u32(..64),
            _ => rng.u32(..),
        };
        more += &format!("(data (i32.const {at}) \"{}\")", escaped(&word.to_le_bytes()));
    }
    Forge { late: &more, ..Forge::default() }.component()
}
