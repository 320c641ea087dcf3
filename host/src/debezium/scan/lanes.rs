//! Many bytes at a time: where the characters of strings and the digits of numbers end.
//!
//! There are three ways, which give the same answers: by words of eight bytes, and by the vectors of SSE2 and
//! of AVX2. Which of them a machine has is asked once. This is the only module with `unsafe` in it, and all of
//! that rests on one thing: a value of [`Avx2`] is made only where the processor says that it has AVX2.

use crate::debezium::text;

/// How a scanner looks at many bytes at a time; the default is the fastest way that the processor has.
#[derive(Debug, Clone, Copy)]
pub struct Lanes(pub(super) Which);

#[derive(Debug, Clone, Copy)]
pub(super) enum Which {
    Words(Words),
    #[cfg(target_arch = "x86_64")]
    Sse2(Sse2),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
}

impl Lanes {
    /// All that the processor has, the fastest first.
    pub fn all() -> Vec<Lanes> {
        #[cfg(target_arch = "x86_64")]
        let vectors = Avx2::detect().map(Which::Avx2).into_iter().chain([Which::Sse2(Sse2)]);
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = [];
        vectors.into_iter().chain([Which::Words(Words)]).map(Lanes).collect()
    }

    /// The way of this name: `avx2`, `sse2`, or `words`. None where the processor does not have it.
    pub fn named(name: &str) -> Option<Lanes> {
        Lanes::all().into_iter().find(|lanes| lanes.name() == name)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self.0 {
            Which::Words(_) => "words",
            #[cfg(target_arch = "x86_64")]
            Which::Sse2(_) => "sse2",
            #[cfg(target_arch = "x86_64")]
            Which::Avx2(_) => "avx2",
        }
    }
}

impl Default for Lanes {
    fn default() -> Self {
        Lanes::all().first().copied().unwrap_or(Lanes(Which::Words(Words)))
    }
}

/// Bytes that one look takes.
pub(super) const LOOK: usize = 32;

/// Bytes that are looked at together.
pub(super) type Look = [u8; LOOK];

/// A way to look at many bytes at a time. Answers have a bit for each byte of a look, the lowest for the first.
pub(super) trait Way: Copy {
    /// Which bytes are no plain characters of a string: quotes, backslashes, control characters, and all that are
    /// not ASCII.
    fn special(self, look: &Look) -> u32;

    /// Which bytes are no digits.
    fn no_digits(self, look: &Look) -> u32;

    /// Which bytes differ.
    fn differ(self, one: &Look, other: &Look) -> u32;

    /// Does `work` as compiled for what this way needs of the processor.
    fn run<W: Work>(self, work: W) -> W::Done;
}

/// Something to do that looks at many bytes.
pub(super) trait Work {
    /// What comes of it.
    type Done;

    /// Does it. To be inlined, with all in it that looks at many bytes: only what is inlined is compiled for
    /// what the processor has.
    fn go(self) -> Self::Done;
}

/// Eight bytes at a time, on any processor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words;

impl Words {
    /// The bits of four words together.
    #[inline(always)]
    fn marks(look: &Look, of: impl Fn(u64) -> u64) -> u32 {
        let (words, _) = look.as_chunks::<8>();
        let mark = |marks, word: &[u8; 8]| marks << 8 | of(u64::from_le_bytes(*word));
        words.iter().rev().fold(0_u64, mark) as u32
    }
}

impl Way for Words {
    #[inline(always)]
    fn special(self, look: &Look) -> u32 {
        Words::marks(look, text::special)
    }

    #[inline(always)]
    fn no_digits(self, look: &Look) -> u32 {
        Words::marks(look, text::no_digits)
    }

    #[inline(always)]
    fn differ(self, one: &Look, other: &Look) -> u32 {
        let ((one, _), (other, _)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
        let word = |word: &[u8; 8]| u64::from_le_bytes(*word);
        let differ = one.iter().zip(other).rev().map(|(one, other)| word(one) ^ word(other));
        differ.fold(0_u64, |marks, differ| marks << 8 | text::not_zero(differ)) as u32
    }

    #[inline(never)]
    fn run<W: Work>(self, work: W) -> W::Done {
        work.go()
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Sse2};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Look, Way, Work};

    /// Two vectors of 16 bytes; every processor of this architecture has them.
    #[derive(Debug, Clone, Copy)]
    pub(in super::super) struct Sse2;

    /// One vector of 32 bytes, and instructions for bits. There is a value only where the processor has them.
    #[derive(Debug, Clone, Copy)]
    pub(in super::super) struct Avx2(());

    impl Avx2 {
        /// None: the processor has no AVX2.
        pub(in super::super) fn detect() -> Option<Self> {
            let has = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2");
            has.then_some(Avx2(()))
        }
    }

    const SPACE: i8 = b' ' as i8;
    const QUOTE: i8 = b'"' as i8;
    const BACKSLASH: i8 = b'\\' as i8;
    /// As signed numbers, digits are the lowest ten once '0' is the lowest.
    const TO_LOWEST: i8 = i8::MIN.wrapping_sub(b'0' as i8);
    const LAST_DIGIT: i8 = i8::MIN + 9;

    #[inline]
    #[target_feature(enable = "sse2")]
    fn halves(look: &Look) -> [__m128i; 2] {
        let start = look.as_ptr().cast::<__m128i>();
        // SAFETY: a look has the bytes of two vectors, and these may stand at any address.
        unsafe { [_mm_loadu_si128(start), _mm_loadu_si128(start.add(1))] }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn marks([low, high]: [__m128i; 2]) -> u32 {
        (_mm_movemask_epi8(low) | _mm_movemask_epi8(high) << 16).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn special_sse2(look: &Look) -> u32 {
        marks(halves(look).map(|half| {
            // Bytes that are not ASCII are below a space as signed numbers.
            let low = _mm_cmplt_epi8(half, _mm_set1_epi8(SPACE));
            let quote = _mm_cmpeq_epi8(half, _mm_set1_epi8(QUOTE));
            let backslash = _mm_cmpeq_epi8(half, _mm_set1_epi8(BACKSLASH));
            _mm_or_si128(low, _mm_or_si128(quote, backslash))
        }))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn no_digits_sse2(look: &Look) -> u32 {
        marks(halves(look).map(|half| {
            let from_lowest = _mm_add_epi8(half, _mm_set1_epi8(TO_LOWEST));
            _mm_cmpgt_epi8(from_lowest, _mm_set1_epi8(LAST_DIGIT))
        }))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn differ_sse2(one: &Look, other: &Look) -> u32 {
        let ([low, high], [other_low, other_high]) = (halves(one), halves(other));
        !marks([_mm_cmpeq_epi8(low, other_low), _mm_cmpeq_epi8(high, other_high)])
    }

    // SAFETY, of all in it: every processor of this architecture has SSE2.
    impl Way for Sse2 {
        #[inline(always)]
        fn special(self, look: &Look) -> u32 {
            unsafe { special_sse2(look) }
        }

        #[inline(always)]
        fn no_digits(self, look: &Look) -> u32 {
            unsafe { no_digits_sse2(look) }
        }

        #[inline(always)]
        fn differ(self, one: &Look, other: &Look) -> u32 {
            unsafe { differ_sse2(one, other) }
        }

        #[inline(never)]
        fn run<W: Work>(self, work: W) -> W::Done {
            work.go()
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn whole(look: &Look) -> __m256i {
        // SAFETY: a look has the bytes of a vector, and these may stand at any address.
        unsafe { _mm256_loadu_si256(look.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn special_avx2(look: &Look) -> u32 {
        let whole = whole(look);
        // Bytes that are not ASCII are below a space as signed numbers.
        let low = _mm256_cmpgt_epi8(_mm256_set1_epi8(SPACE), whole);
        let quote = _mm256_cmpeq_epi8(whole, _mm256_set1_epi8(QUOTE));
        let backslash = _mm256_cmpeq_epi8(whole, _mm256_set1_epi8(BACKSLASH));
        _mm256_movemask_epi8(_mm256_or_si256(low, _mm256_or_si256(quote, backslash))).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn no_digits_avx2(look: &Look) -> u32 {
        let from_lowest = _mm256_add_epi8(whole(look), _mm256_set1_epi8(TO_LOWEST));
        _mm256_movemask_epi8(_mm256_cmpgt_epi8(from_lowest, _mm256_set1_epi8(LAST_DIGIT))).cast_unsigned()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn differ_avx2(one: &Look, other: &Look) -> u32 {
        !_mm256_movemask_epi8(_mm256_cmpeq_epi8(whole(one), whole(other))).cast_unsigned()
    }

    #[inline(never)]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn with_avx2<W: Work>(work: W) -> W::Done {
        work.go()
    }

    // SAFETY, of all in it: there is an `Avx2`, so the processor has AVX2, BMI1 and BMI2.
    impl Way for Avx2 {
        #[inline(always)]
        fn special(self, look: &Look) -> u32 {
            unsafe { special_avx2(look) }
        }

        #[inline(always)]
        fn no_digits(self, look: &Look) -> u32 {
            unsafe { no_digits_avx2(look) }
        }

        #[inline(always)]
        fn differ(self, one: &Look, other: &Look) -> u32 {
            unsafe { differ_avx2(one, other) }
        }

        #[inline(always)]
        fn run<W: Work>(self, work: W) -> W::Done {
            unsafe { with_avx2(work) }
        }
    }
}
