//! The ad requests of many screens: any one of them can be made from its index and its time alone.

use events::screen::Screen;

use crate::city::CITIES;
use crate::random::Random;
use crate::template::{Deal, Fault, Template, Values, uuid};

/// Screens ask for slots that begin this many milliseconds later, at least and at most.
const LEAD_MS: (i64, u32) = (2_000, 58_000);

/// Ad requests of a set of screens, of about 1.0 to 1.6 KB.
///
/// The same seed, screens, index and time give the same bytes. Requests cost about 1.4 KB of memory per screen.
#[derive(Debug, Clone)]
pub struct Traffic {
    seed: u64,
    templates: Vec<Template>,
    invalid_per_10k: u32,
}

/// What one request asks for.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Which screen asks.
    pub(crate) screen: usize,
    /// The deals of its imps, as many as there are imps.
    pub(crate) deals: Vec<Option<Deal>>,
    request_id: [u8; 16],
    transaction_id: [u8; 16],
    /// When the first slot begins, in milliseconds since the epoch.
    pub(crate) display_ms: i64,
    /// Floor per thousand in hundredths.
    pub(crate) floor_cents: u32,
    fault: Option<Fault>,
}

impl Asked {
    /// `BidRequest.id`.
    pub(crate) fn auction_id(&self) -> String {
        String::from_utf8_lossy(&uuid(self.request_id)).into_owned()
    }
}

/// There are no screens to ask for ads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("traffic needs at least one screen")]
pub struct NoScreens;

impl Traffic {
    /// Requests of these screens, of which `invalid_per_10k` in 10,000 break a structural rule and must be refused.
    ///
    /// # Errors
    /// If there are no screens.
    pub fn new(seed: u64, screens: &[Screen], invalid_per_10k: u32) -> Result<Self, NoScreens> {
        if screens.is_empty() {
            return Err(NoScreens);
        }
        let is_gdpr = |screen: &Screen| CITIES.iter().any(|city| city.gdpr && city.country == screen.country);
        let template = |(index, screen)| Template::new(screen, is_gdpr(screen), Random::new(!seed, index));
        Ok(Self { seed, templates: (0..).zip(screens).map(template).collect(), invalid_per_10k })
    }

    /// Appends the request of an index, as it is made at `now_ms` (milliseconds since the epoch).
    pub fn write(&self, index: u64, now_ms: i64, out: &mut Vec<u8>) {
        if let Some(asked) = self.asked(index, now_ms) {
            self.write_asked(&asked, out);
        }
    }

    /// What the request of an index asks for; `None` only without screens.
    pub(crate) fn asked(&self, index: u64, now_ms: i64) -> Option<Asked> {
        let mut random = Random::new(self.seed, index);
        let screens = u32::try_from(self.templates.len()).unwrap_or(u32::MAX);
        let screen = usize::try_from(random.below(screens)).unwrap_or(0);
        let deals = self.templates.get(screen)?.deals().to_vec();
        let (request_id, transaction_id) = (random.bytes16(), random.bytes16());
        let display_ms = now_ms + LEAD_MS.0 + i64::from(random.below(LEAD_MS.1));
        let floor_cents = 100 + random.below(900);
        Some(Asked { screen, deals, request_id, transaction_id, display_ms, floor_cents, fault: self.fault(index) })
    }

    /// Appends a request.
    pub(crate) fn write_asked(&self, asked: &Asked, out: &mut Vec<u8>) {
        let Asked { request_id, transaction_id, display_ms, floor_cents, fault, .. } = *asked;
        let values = Values { request_id, transaction_id, display_ms, floor_cents, fault };
        if let Some(template) = self.templates.get(asked.screen) {
            template.write(&values, out);
        }
    }

    /// Whether the request of an index must be refused.
    pub fn is_invalid(&self, index: u64) -> bool {
        self.fault(index).is_some()
    }

    fn fault(&self, index: u64) -> Option<Fault> {
        let mut random = Random::new(self.seed.rotate_left(17), index);
        random.happens(self.invalid_per_10k).then(|| random.pick(&Fault::ALL).copied()).flatten()
    }
}

#[cfg(test)]
mod tests;
