//! What the enrichment adds to an event: times, the screen of each imp, money.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Added to an envelope between the raw and the enriched stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enrichment<'a> {
    /// When the event counts, in milliseconds since the epoch: for an ad request, when it was received.
    pub event_ts: i64,
    /// When it was enriched, in milliseconds since the epoch.
    pub enriched_ts: i64,
    /// One entry an imp, in the order of the request.
    #[serde(borrow)]
    pub imps: Vec<ImpEnrichment<'a>>,
    /// Of an auction, notice or play that names its ad unit: what the screens table knows of it, at the time of the display
    /// where the event says that, else when it was received.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub screen: Option<ScreenFacts<'a>>,
}

/// Added for one imp.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImpEnrichment<'a> {
    /// The ad unit: `imp.tagid`, else `dooh.id`, else `device.ifa`.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub adunit_id: Option<Cow<'a, str>>,
    /// What the screens table knows of the ad unit; absent for an unknown one.
    #[serde(default, skip_serializing_if = "Option::is_none", borrow)]
    pub screen: Option<ScreenFacts<'a>>,
    /// Impressions that one play counts for, in ten-thousandths.
    pub multiplier_e4: i64,
    /// Who said so.
    pub multiplier_source: MultiplierSource,
    /// What a play at the floor price would cost, in micros of the floor's currency; absent beyond 63 bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor_cost_micros: Option<i64>,
}

/// Facts of a screen at the time of an event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScreenFacts<'a> {
    /// Who owns the ad unit.
    #[serde(borrow)]
    pub publisher_id: Cow<'a, str>,
    /// `OpenOOH` venue type, the finest known tier.
    pub venuetype_id: i32,
    /// `OpenOOH` venue type, first tier.
    pub venuetype_parent: i32,
    /// City.
    #[serde(borrow)]
    pub city: Cow<'a, str>,
    /// ISO 3166 alpha-3.
    #[serde(borrow)]
    pub country: Cow<'a, str>,
    /// IANA time zone.
    #[serde(borrow)]
    pub tz: Cow<'a, str>,
    /// The wall clock at the screen, as milliseconds since 1970-01-01 of that clock.
    pub local_ts: i64,
    /// Hour of the wall clock, 0 to 23.
    pub local_hour: i32,
}

/// Where a multiplier comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MultiplierSource {
    /// `imp.qty.multiplier`.
    Request,
    /// The screens table.
    Screen,
    /// Neither: 1, as the field does.
    Default,
}

impl MultiplierSource {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            MultiplierSource::Request => "request",
            MultiplierSource::Screen => "screen",
            MultiplierSource::Default => "default",
        }
    }
}
