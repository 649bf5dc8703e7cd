//! How one auction goes, from request to bill: all of it decided by the seed and the auction's number.

use events::screen::Screen;

use super::Part;
use super::bidder::{BIDDERS, Bidder};
use crate::random::Random;
use crate::template::Deal;
use crate::traffic::{Asked, Traffic};

/// Time that bidders have, as the requests say.
pub(super) const TMAX_MS: i64 = 300;
/// Of 10,000 plays: shown only in part, failed, or not shown at all.
const INTERRUPTED: u32 = 200;
const FAILED: u32 = 100;
const NOT_PLAYED: u32 = 150;
/// Of 10,000 plays: reported with the player's next batch within an hour, or within four; the others within five minutes.
const REPORTED_LATE: u32 = 2_500;
const REPORTED_VERY_LATE: u32 = 500;

/// An auction with everything that follows from it.
#[derive(Debug)]
pub(super) struct Outcome<'d> {
    pub(super) screen: &'d Screen,
    pub(super) asked: Asked,
    pub(super) asked_ms: i64,
    /// One an imp.
    pub(super) imps: Vec<ImpOutcome>,
    /// One a bidder, in the order of [`BIDDERS`].
    pub(super) answers: [Answer; BIDDERS.len()],
}

/// How a bidder answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) kind: Kind,
    pub(super) latency_ms: i64,
    /// Hundredths per thousand, for each imp.
    pub(super) price_cents: [u32; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Throttled,
    Timeout,
    Error,
    NoBid,
    Bid,
}

/// What became of one imp.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImpOutcome {
    pub(super) deal: Option<Deal>,
    /// The bidder that won.
    pub(super) winner: Option<usize>,
    /// Bids on it, below the floor or not.
    pub(super) bids: usize,
    pub(super) play: Play,
    pub(super) played_ms: i64,
    /// From the display to when the player says so.
    reported_ms: i64,
    /// From then to the bill.
    billed_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Play {
    Completed,
    Interrupted,
    Failed,
    NotPlayed,
}

impl<'d> Outcome<'d> {
    /// The auction of a number that is asked for at a time; `None` only where there are no screens.
    pub(super) fn of(seed: u64, auction: u64, traffic: &Traffic, screens: &'d [Screen], asked_ms: i64) -> Option<Self> {
        let asked = traffic.asked(auction, asked_ms)?;
        let screen = screens.get(asked.screen)?;
        let mut random = Random::new(seed.rotate_left(7) ^ 0x6f75_7463, auction);
        let answers = BIDDERS.map(|bidder| answer(&bidder, asked.floor_cents, &mut random));
        let imps = asked
            .deals
            .iter()
            .enumerate()
            .map(|(imp, deal)| imp_outcome((imp, *deal), &asked, &answers, screen, &mut random));
        let imps = imps.collect();
        Some(Self { screen, asked, asked_ms, imps, answers })
    }

    /// The ad request, as the screen sends it.
    pub(super) fn request(&self, traffic: &Traffic, out: &mut Vec<u8>) {
        traffic.write_asked(&self.asked, out);
    }

    /// All events with their times. None is before what it follows from.
    pub(super) fn parts(&self) -> Vec<(i64, Part)> {
        let mut parts = vec![(self.asked_ms, Part::Request)];
        for ((bidder, answer), number) in (0_u8..).zip(&self.answers).zip(0_i64..) {
            let sent_ms = self.sent_ms(number);
            parts.push((sent_ms, Part::BidRequest { bidder }));
            if answer.kind != Kind::Throttled {
                parts.push((sent_ms + answer.latency_ms, Part::BidResponse { bidder }));
            }
        }
        for (imp, outcome) in (0_u8..).zip(&self.imps) {
            let sold_ms = self.sold_ms();
            parts.push((sold_ms, Part::Auction { imp }));
            let Some(winner) = outcome.winner else { continue };
            parts.push((sold_ms + 20, Part::Win { imp }));
            for (bidder, answer) in (0_u8..).zip(&self.answers) {
                if answer.kind == Kind::Bid && usize::from(bidder) != winner {
                    parts.push((sold_ms + 25, Part::Loss { bidder, imp }));
                }
            }
            let reported_ms = self.display_ms(imp.into()) + outcome.played_ms + outcome.reported_ms;
            parts.push((reported_ms, Part::Play { imp }));
            if outcome.play == Play::Completed {
                parts.push((reported_ms + outcome.billed_ms, Part::Billing { imp }));
            }
        }
        parts
    }

    /// When a bidder was asked: one after the other, a millisecond each.
    pub(super) fn sent_ms(&self, bidder: i64) -> i64 {
        self.asked_ms + 2 + bidder
    }

    /// When the auction ended: once all have answered, or their time was over.
    pub(super) fn sold_ms(&self) -> i64 {
        let answered = (0_i64..).zip(&self.answers).filter(|(_, answer)| answer.kind != Kind::Throttled);
        let last = answered.map(|(bidder, answer)| self.sent_ms(bidder) + answer.latency_ms).max();
        last.unwrap_or(self.asked_ms) + 3
    }

    /// When the slot of an imp begins.
    pub(super) fn display_ms(&self, imp: usize) -> i64 {
        self.asked.display_ms + i64::try_from(imp).unwrap_or(0) * i64::from(self.screen.slot_s) * 1_000
    }

    /// The bid that sold an imp.
    pub(super) fn sold(&self, imp: usize) -> Option<(&'static Bidder, u32)> {
        let winner = self.imps.get(imp)?.winner?;
        let price_cents = *self.answers.get(winner)?.price_cents.get(imp)?;
        Some((BIDDERS.get(winner)?, price_cents))
    }
}

fn answer(bidder: &Bidder, floor_cents: u32, random: &mut Random) -> Answer {
    // All numbers are drawn in any case, so that one bidder's behaviour does not change another's.
    let is_throttled = random.happens(bidder.throttled);
    let share = random.below(10_000);
    let latency_ms = i64::from(bidder.latency_ms.0 + random.below(bidder.latency_ms.1));
    let mut price = || floor_cents * (bidder.price_percent.0 + random.below(bidder.price_percent.1)) / 100;
    let price_cents = [price(), price()];
    let (timeouts, errors) = (bidder.timeouts, bidder.timeouts + bidder.errors);
    let kind = match share {
        _ if is_throttled => Kind::Throttled,
        share if share < timeouts => Kind::Timeout,
        share if share < errors => Kind::Error,
        share if share < errors + bidder.bids => Kind::Bid,
        _ => Kind::NoBid,
    };
    Answer { kind, latency_ms: if kind == Kind::Timeout { TMAX_MS } else { latency_ms }, price_cents }
}

fn imp_outcome(
    (imp, deal): (usize, Option<Deal>),
    asked: &Asked,
    answers: &[Answer],
    screen: &Screen,
    random: &mut Random,
) -> ImpOutcome {
    let prices = answers.iter().enumerate().filter(|(_, answer)| answer.kind == Kind::Bid);
    let prices = prices.filter_map(|(bidder, answer)| Some((*answer.price_cents.get(imp)?, bidder)));
    let bids = prices.clone().count();
    // Of equal bids the first one wins.
    let eligible = prices.filter(|(cents, _)| *cents >= asked.floor_cents);
    let winner = eligible.max_by_key(|(cents, bidder)| (*cents, std::cmp::Reverse(*bidder))).map(|(_, bidder)| bidder);
    let slot_ms = i64::from(screen.slot_s) * 1_000;
    let part_ms = i64::from(random.below(u32::try_from(slot_ms).unwrap_or(1_000)));
    let share = random.below(10_000);
    let (play, played_ms) = match share {
        share if share < NOT_PLAYED => (Play::NotPlayed, 0),
        share if share < NOT_PLAYED + FAILED => (Play::Failed, 0),
        share if share < NOT_PLAYED + FAILED + INTERRUPTED => (Play::Interrupted, part_ms),
        _ => (Play::Completed, slot_ms),
    };
    let reported_ms = match random.below(10_000) {
        share if share < REPORTED_VERY_LATE => 3_600_000 + i64::from(random.below(3 * 3_600_000)),
        share if share < REPORTED_VERY_LATE + REPORTED_LATE => 300_000 + i64::from(random.below(3_300_000)),
        _ => 20_000 + i64::from(random.below(280_000)),
    };
    let billed_ms = 500 + i64::from(random.below(9_500));
    ImpOutcome { deal, winner, bids, play, played_ms, reported_ms, billed_ms }
}
