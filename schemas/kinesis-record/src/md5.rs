//! MD5 of several messages at a time. One MD5 is a single chain of dependent steps, and a core waits most of the time; four,
//! eight or sixteen messages side by side take hardly longer than one. The compiler makes vector instructions of the loops over
//! lanes; `pulp` runs those that were compiled for the machine it finds itself on.
//!
//! A message alone goes through the `md-5` crate, which is as fast as one chain can be.

#![expect(clippy::indexing_slicing, reason = "every index is a constant or below the length of its array")]
#![expect(clippy::needless_range_loop, reason = "one number tells a lane in several arrays")]

use md5::{Digest, Md5};
use pulp::{Arch, Simd, WithSimd};

/// Bytes of an MD5 digest.
type Hash = [u8; 16];

/// One number for each lane.
type Lanes<const N: usize> = [u32; N];

const BLOCK_BYTES: usize = 64;

type Block = [u8; BLOCK_BYTES];

const START: [u32; 4] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476];

/// RFC 1321: 2^32 times the absolute sine of 1 to 64.
const SINES: [u32; 64] = [
    0xD76A_A478,
    0xE8C7_B756,
    0x2420_70DB,
    0xC1BD_CEEE,
    0xF57C_0FAF,
    0x4787_C62A,
    0xA830_4613,
    0xFD46_9501, //
    0x6980_98D8,
    0x8B44_F7AF,
    0xFFFF_5BB1,
    0x895C_D7BE,
    0x6B90_1122,
    0xFD98_7193,
    0xA679_438E,
    0x49B4_0821, //
    0xF61E_2562,
    0xC040_B340,
    0x265E_5A51,
    0xE9B6_C7AA,
    0xD62F_105D,
    0x0244_1453,
    0xD8A1_E681,
    0xE7D3_FBC8, //
    0x21E1_CDE6,
    0xC337_07D6,
    0xF4D5_0D87,
    0x455A_14ED,
    0xA9E3_E905,
    0xFCEF_A3F8,
    0x676F_02D9,
    0x8D2A_4C8A, //
    0xFFFA_3942,
    0x8771_F681,
    0x6D9D_6122,
    0xFDE5_380C,
    0xA4BE_EA44,
    0x4BDE_CFA9,
    0xF6BB_4B60,
    0xBEBF_BC70, //
    0x289B_7EC6,
    0xEAA1_27FA,
    0xD4EF_3085,
    0x0488_1D05,
    0xD9D4_D039,
    0xE6DB_99E5,
    0x1FA2_7CF8,
    0xC4AC_5665, //
    0xF429_2244,
    0x432A_FF97,
    0xAB94_23A7,
    0xFC93_A039,
    0x655B_59C3,
    0x8F0C_CC92,
    0xFFEF_F47D,
    0x8584_5DD1, //
    0x6FA8_7E4F,
    0xFE2C_E6E0,
    0xA301_4314,
    0x4E08_11A1,
    0xF753_7E82,
    0xBD3A_F235,
    0x2AD7_D2BB,
    0xEB86_D391,
];

/// The MD5 of each message.
pub(crate) fn digests(messages: &[&[u8]]) -> Vec<Hash> {
    let mut digests = vec![Hash::default(); messages.len()];
    match messages {
        [] => {}
        [message] => digests.fill(Md5::digest(message).into()),
        messages => Arch::new().dispatch(SideBySide { messages, digests: &mut digests }),
    }
    digests
}

/// Work that is compiled once for each kind of vector instructions, and run with the widest that the machine has.
struct SideBySide<'a> {
    messages: &'a [&'a [u8]],
    /// One for each message.
    digests: &'a mut [Hash],
}

impl WithSimd for SideBySide<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        // More lanes than messages would only turn for nothing.
        match S::U32_LANES {
            16.. if self.messages.len() > 8 => self.run::<16>(),
            8.. if self.messages.len() > 4 => self.run::<8>(),
            _ => self.run::<4>(),
        }
    }
}

/// A message that a lane works on, counted in blocks.
#[derive(Debug, Clone, Copy)]
struct Work {
    message: usize,
    /// The next block.
    at: usize,
    /// Blocks of the message that are whole; those behind them lie in the lane's tail.
    whole: usize,
    /// All blocks, with the padding.
    total: usize,
}

/// The last bytes of a message with their padding.
type Tail = [u8; 2 * BLOCK_BYTES];

impl SideBySide<'_> {
    /// Gives each lane a message, turns all lanes until one comes to an end, and gives that one the next message.
    #[inline(always)]
    fn run<const N: usize>(self) {
        let mut state = START.map(|word| [word; N]);
        let mut tails: [Tail; N] = [[0; 2 * BLOCK_BYTES]; N];
        let mut works: [Option<Work>; N] = [None; N];
        let mut next = 0;
        loop {
            for lane in 0..N {
                if works[lane].is_none() && next < self.messages.len() {
                    works[lane] = Some(begin(next, self.messages[next], &mut tails[lane]));
                    for (words, start) in state.iter_mut().zip(START) {
                        words[lane] = start;
                    }
                    next += 1;
                }
            }
            let Some(first) = works.iter().flatten().next() else { break };
            // A lane without a message turns along with another one's blocks, and nobody looks at what comes out.
            let mut ahead: [&[Block]; N] = [blocks(self.messages[first.message]); N];
            let mut shared = usize::MAX;
            for lane in 0..N {
                if let Some(work) = works[lane] {
                    ahead[lane] = if work.at < work.whole {
                        &blocks(self.messages[work.message])[work.at..]
                    } else {
                        &blocks(&tails[lane])[work.at - work.whole..work.total - work.whole]
                    };
                    shared = shared.min(ahead[lane].len());
                }
            }
            for lane in 0..N {
                if works[lane].is_none() {
                    ahead[lane] = ahead[works.iter().position(Option::is_some).unwrap_or(0)];
                }
            }
            for index in 0..shared {
                let mut turned: [&Block; N] = [&[0; BLOCK_BYTES]; N];
                for lane in 0..N {
                    turned[lane] = &ahead[lane][index];
                }
                add_block(&mut state, turned);
            }
            for lane in 0..N {
                let Some(work) = &mut works[lane] else { continue };
                work.at += shared;
                if work.at == work.total {
                    self.digests[work.message] = digest(&state, lane);
                    works[lane] = None;
                }
            }
        }
    }
}

#[inline(always)]
fn blocks(bytes: &[u8]) -> &[Block] {
    bytes.as_chunks::<BLOCK_BYTES>().0
}

/// Begins a message: writes its last bytes, the mark behind them, and its length in bits.
#[inline(always)]
fn begin(message: usize, bytes: &[u8], tail: &mut Tail) -> Work {
    let (whole, rest) = bytes.as_chunks::<BLOCK_BYTES>();
    let padded = if rest.len() < BLOCK_BYTES - 8 { BLOCK_BYTES } else { 2 * BLOCK_BYTES };
    *tail = [0; 2 * BLOCK_BYTES];
    tail[..rest.len()].copy_from_slice(rest);
    tail[rest.len()] = 0x80;
    let bits = (bytes.len() as u64).wrapping_mul(8);
    tail[padded - 8..padded].copy_from_slice(&bits.to_le_bytes());
    Work { message, at: 0, whole: whole.len(), total: whole.len() + padded / BLOCK_BYTES }
}

#[inline(always)]
fn digest<const N: usize>(state: &[Lanes<N>; 4], lane: usize) -> Hash {
    let mut digest = Hash::default();
    for (out, words) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *out = words[lane].to_le_bytes();
    }
    digest
}

/// Takes one block of each lane in.
#[inline(always)]
fn add_block<const N: usize>(state: &mut [Lanes<N>; 4], blocks: [&Block; N]) {
    let mut words = [[0; N]; 16];
    for (lane, block) in blocks.iter().enumerate() {
        for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
            word[lane] = u32::from_le_bytes(*bytes);
        }
    }
    let mut turned = *state;
    // In round two the two halves never have a bit in common, so a sum does as well as an OR and shortens the chain.
    round::<N, 0>(&mut turned, &words, |b, c, d| d ^ (b & (c ^ d)));
    round::<N, 1>(&mut turned, &words, |b, c, d| (c & !d).wrapping_add(b & d));
    round::<N, 2>(&mut turned, &words, |b, c, d| b ^ (c ^ d));
    round::<N, 3>(&mut turned, &words, |b, c, d| c ^ (b | !d));
    for (before, turned) in state.iter_mut().zip(turned) {
        for (before, turned) in before.iter_mut().zip(turned) {
            *before = before.wrapping_add(turned);
        }
    }
}

/// Which word each of the sixteen steps of a round takes.
const WORDS: [[usize; 16]; 4] = [
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
    [1, 6, 11, 0, 5, 10, 15, 4, 9, 14, 3, 8, 13, 2, 7, 12],
    [5, 8, 11, 14, 1, 4, 7, 10, 13, 0, 3, 6, 9, 12, 15, 2],
    [0, 7, 14, 5, 12, 3, 10, 1, 8, 15, 6, 13, 4, 11, 2, 9],
];

/// By how many bits each of four steps turns.
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

#[inline(always)]
fn round<const N: usize, const ROUND: usize>(
    state: &mut [Lanes<N>; 4],
    words: &[Lanes<N>; 16],
    mix: impl Fn(u32, u32, u32) -> u32,
) {
    let [mut a, mut b, mut c, mut d] = *state;
    for four in 0..4 {
        let step = |index: usize| {
            let number = four * 4 + index;
            (&words[WORDS[ROUND][number]], SINES[ROUND * 16 + number], TURNS[ROUND][index])
        };
        a = turn(a, [b, c, d], step(0), &mix);
        d = turn(d, [a, b, c], step(1), &mix);
        c = turn(c, [d, a, b], step(2), &mix);
        b = turn(b, [c, d, a], step(3), &mix);
    }
    *state = [a, b, c, d];
}

#[inline(always)]
fn turn<const N: usize>(
    mut a: Lanes<N>,
    [b, c, d]: [Lanes<N>; 3],
    (word, sine, bits): (&Lanes<N>, u32, u32),
    mix: impl Fn(u32, u32, u32) -> u32,
) -> Lanes<N> {
    for lane in 0..N {
        let sum = a[lane].wrapping_add(word[lane]).wrapping_add(sine);
        let mixed = sum.wrapping_add(mix(b[lane], c[lane], d[lane]));
        a[lane] = mixed.rotate_left(bits).wrapping_add(b[lane]);
    }
    a
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    use super::digests;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 1321, appendix A.5.
        let digests = digests(&[
            b"",
            b"a",
            b"abc",
            b"message digest",
            b"abcdefghijklmnopqrstuvwxyz",
            b"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
        ]);
        let expect = [
            0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e_u128,
            0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661,
            0x9001_5098_3cd2_4fb0_d696_3f7d_28e1_7f72,
            0xf96b_697d_7cb7_938d_525a_2f31_aaf1_61d0,
            0xc3fc_d3d7_6192_e400_7dfb_496c_ca67_e13b,
            0x57ed_f4a2_2be3_c955_ac49_da2e_2107_b67a,
        ];
        assert_eq!(digests, expect.map(u128::to_be_bytes));
    }

    #[test]
    fn every_length_around_a_block() {
        let data: Vec<u8> = (0..=255).collect();
        let messages: Vec<&[u8]> = (0..200).map(|length| &data[..length]).collect();
        for width in (1..=20).chain([33]) {
            for messages in messages.chunks(width) {
                let expect: Vec<[u8; 16]> = messages.iter().map(|message| Md5::digest(message).into()).collect();
                assert_eq!(digests(messages), expect);
            }
        }
    }

    proptest! {
        #[test]
        fn side_by_side_is_as_alone(messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..700), 0..40)) {
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let expect: Vec<[u8; 16]> = messages.iter().map(|message| Md5::digest(message).into()).collect();
            prop_assert_eq!(digests(&messages), expect);
        }
    }
}
