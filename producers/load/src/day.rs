//! A day of an exchange: screens ask for ads by the hours of their places, five bidders answer, imps are sold or not,
//! notices go out, ads are played and billed, some of it hours later.
//!
//! Events come in the order of their own time. Every auction is made anew from the seed and its number whenever one of
//! its events is due, so all that is kept of what is to come is one small entry an event. The same seed and settings
//! give the same bytes.

pub mod bidder;
mod curve;
mod outcome;
mod write;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use events::envelope::EventType;
use events::screen::Screen;

use crate::random::Random;
use crate::traffic::{NoScreens, Traffic};
use curve::Curves;
use outcome::Outcome;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;
/// Most auctions of a day: what is to come of them within four hours is about 1.3 GB.
pub const AUCTIONS_PER_DAY_MAX: u32 = 20_000_000;

/// What a day is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayConfig {
    /// Decides everything.
    pub seed: u64,
    /// When it begins, in milliseconds since the epoch.
    pub start_ms: i64,
    /// Ad requests of a whole day, about; 1 to [`AUCTIONS_PER_DAY_MAX`]. Each is about 18 events.
    pub auctions_per_day: u32,
}

/// The events of a day and of those after it, without end.
#[derive(Debug)]
pub struct Day {
    config: DayConfig,
    traffic: Traffic,
    screens: Vec<Screen>,
    curves: Curves,
    /// Moments at which a screen may ask, from the start; each does or does not, by its place's hour.
    candidate: u64,
    candidates_per_day: u64,
    waiting: BinaryHeap<Reverse<Waiting>>,
}

/// An event that is due later. Ordered by time, and then by what makes the order the same each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    at_ms: i64,
    auction: u64,
    part: Part,
}

/// Which event of an auction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Request,
    BidRequest { bidder: u8 },
    BidResponse { bidder: u8 },
    Auction { imp: u8 },
    Win { imp: u8 },
    Loss { bidder: u8, imp: u8 },
    Play { imp: u8 },
    Billing { imp: u8 },
}

/// What an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Its type.
    pub event_type: EventType,
    /// When it happens, in milliseconds since the epoch.
    pub at_ms: i64,
}

impl Day {
    /// The day of these screens.
    ///
    /// # Errors
    /// If there are no screens.
    pub fn new(config: DayConfig, screens: Vec<Screen>) -> Result<Self, NoScreens> {
        let traffic = Traffic::new(config.seed, &screens, 0)?;
        let curves = Curves::of(&screens);
        let auctions = u64::from(config.auctions_per_day.clamp(1, AUCTIONS_PER_DAY_MAX));
        // A moment becomes a request with the chance of its place's hour, so there are more of them.
        let candidates_per_day = (auctions * u64::from(curve::PEAK) / u64::from(curves.mean().max(1))).max(1);
        Ok(Self { config, traffic, screens, curves, candidate: 0, candidates_per_day, waiting: BinaryHeap::new() })
    }

    /// Appends the next event.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Made {
        loop {
            let candidate_ms = self.candidate_ms(self.candidate);
            if let Some(Reverse(waiting)) = self.waiting.peek().copied()
                && waiting.at_ms <= candidate_ms
            {
                self.waiting.pop();
                return self.write(waiting, out);
            }
            self.ask(candidate_ms);
            self.candidate += 1;
        }
    }

    /// When the day begins.
    pub fn start_ms(&self) -> i64 {
        self.config.start_ms
    }

    /// The time of a moment: they are spread evenly, with a jitter below their distance.
    fn candidate_ms(&self, candidate: u64) -> i64 {
        let (day, rest) = (candidate / self.candidates_per_day, candidate % self.candidates_per_day);
        let micros_per_day = u128::from(DAY_MS.unsigned_abs()) * 1_000;
        let jitter = u128::from(Random::new(self.config.seed ^ 0x6a69, candidate).below(1_000));
        let micros =
            (u128::from(rest) * 1_000 + jitter) * micros_per_day / (u128::from(self.candidates_per_day) * 1_000);
        let ms = i64::try_from(micros / 1_000).unwrap_or(DAY_MS);
        self.config.start_ms + i64::try_from(day).unwrap_or(i64::MAX / DAY_MS).saturating_mul(DAY_MS) + ms
    }

    /// Lets a screen ask, or not; what follows from it is due later.
    fn ask(&mut self, at_ms: i64) {
        let outcome = Outcome::of(self.config.seed, self.candidate, &self.traffic, &self.screens, at_ms);
        let Some(outcome) = outcome else { return };
        let chance = self.curves.chance(outcome.screen, at_ms);
        if Random::new(self.config.seed ^ 0x6173_6b73, self.candidate).below(curve::PEAK) >= chance {
            return;
        }
        for (at_ms, part) in outcome.parts() {
            self.waiting.push(Reverse(Waiting { at_ms, auction: self.candidate, part }));
        }
    }

    fn write(&self, waiting: Waiting, out: &mut Vec<u8>) -> Made {
        let Waiting { at_ms, auction, part } = waiting;
        let asked_ms = self.candidate_ms(auction);
        let made = |event_type| Made { event_type, at_ms };
        let Some(outcome) = Outcome::of(self.config.seed, auction, &self.traffic, &self.screens, asked_ms) else {
            // It was there when the event was put in, and is made of the same numbers.
            return made(EventType::AdRequest);
        };
        match part {
            Part::Request => {
                outcome.request(&self.traffic, out);
                made(EventType::AdRequest)
            }
            Part::BidRequest { bidder } => made(write::bid_request(&outcome, bidder.into(), out)),
            Part::BidResponse { bidder } => made(write::bid_response(&outcome, bidder.into(), out)),
            Part::Auction { imp } => made(write::auction(&outcome, imp.into(), out)),
            Part::Win { imp } => made(write::win(&outcome, imp.into(), out)),
            Part::Loss { bidder, imp } => made(write::loss(&outcome, bidder.into(), imp.into(), out)),
            Part::Play { imp } => made(write::play(&outcome, imp.into(), at_ms, out)),
            Part::Billing { imp } => made(write::billing(&outcome, imp.into(), out)),
        }
    }
}

#[cfg(test)]
mod tests;
