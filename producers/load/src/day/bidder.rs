//! The five demand-side platforms that every auction asks.

/// A bidder, and how it behaves. Shares are of 10,000 requests (our choice: from one that bids on nearly half to one that
/// seldom does, with the timeouts that exchanges report).
#[derive(Debug, Clone, Copy)]
pub struct Bidder {
    /// `dsp_id`, and the name of its seat.
    pub id: &'static str,
    /// Of all requests: not sent at all, to keep to the rate it asked for.
    pub throttled: u32,
    /// Of those sent: no answer in time.
    pub timeouts: u32,
    /// Of those sent: an answer that is an error.
    pub errors: u32,
    /// Of those answered: with a bid.
    pub bids: u32,
    /// Milliseconds of an answer, at least and beyond that at most.
    pub latency_ms: (u32, u32),
    /// Price over floor in percent, at least and beyond that at most. Below 100 is a bid that cannot win.
    pub price_percent: (u32, u32),
}

const fn bidder(
    id: &'static str,
    (throttled, timeouts, errors, bids): (u32, u32, u32, u32),
    latency_ms: (u32, u32),
    price_percent: (u32, u32),
) -> Bidder {
    Bidder { id, throttled, timeouts, errors, bids, latency_ms, price_percent }
}

/// All of them.
pub const BIDDERS: [Bidder; 5] = [
    bidder("dsp-north", (0, 120, 10, 4_600), (18, 90), (98, 90)),
    bidder("dsp-harbor", (300, 250, 30, 3_100), (25, 140), (100, 130)),
    bidder("dsp-meadow", (0, 80, 5, 1_500), (12, 60), (110, 160)),
    bidder("dsp-summit", (1_500, 600, 80, 2_200), (60, 220), (95, 80)),
    bidder("dsp-canal", (0, 1_100, 200, 700), (40, 240), (105, 240)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_shares_and_answers_come_in_time() {
        for bidder in BIDDERS {
            assert!(bidder.timeouts + bidder.errors + bidder.bids <= 10_000, "{}", bidder.id);
            assert!(bidder.latency_ms.0 + bidder.latency_ms.1 <= 300, "{}: tmax is 300 ms", bidder.id);
        }
    }
}
