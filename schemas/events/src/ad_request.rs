//! An ad request: an `OpenRTB` 2.6 bid request as a screen's player or its SSP sends it.
//!
//! Views over the document, not a copy of it: members that nobody reads cost nothing, and unknown ones stay.

use std::borrow::Cow;

use crate::dooh::{self, Venue};
use crate::json::Json;

/// A bid request.
#[derive(Debug, Clone, Copy)]
pub struct AdRequest<'r, 'j> {
    root: &'r Json<'j>,
}

/// One offered opportunity of a request.
#[derive(Debug, Clone, Copy)]
pub struct Imp<'r, 'j> {
    root: &'r Json<'j>,
}

/// Where the ad would be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// A web site.
    Site,
    /// An application.
    App,
    /// A screen out of home.
    Dooh,
}

impl Channel {
    /// The member of the request that names it.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Site => "site",
            Channel::App => "app",
            Channel::Dooh => "dooh",
        }
    }
}

impl<'r, 'j> AdRequest<'r, 'j> {
    /// A view of a document.
    pub fn new(root: &'r Json<'j>) -> Self {
        Self { root }
    }

    /// `BidRequest.id`, unless missing or empty.
    pub fn id(self) -> Option<&'r str> {
        self.text(&["id"]).filter(|id| !id.is_empty())
    }

    /// The channel, by the member that is there.
    pub fn channel(self) -> Option<Channel> {
        [Channel::Dooh, Channel::App, Channel::Site].into_iter().find(|channel| self.root.get(channel.name()).is_some())
    }

    /// `id` of the channel's publisher.
    pub fn publisher_id(self) -> Option<&'r str> {
        self.text(&[self.channel()?.name(), "publisher", "id"])
    }

    /// The imps, in the order of the request.
    pub fn imps(self) -> impl Iterator<Item = Imp<'r, 'j>> {
        let imps = self.root.get("imp").map_or(&[][..], Json::elements);
        imps.iter().map(|root| Imp { root })
    }

    /// The id of the ad unit of an imp: `imp.tagid`, else `dooh.id`, else `device.ifa`.
    pub fn adunit_id(self, imp: Imp<'r, 'j>) -> Option<&'r str> {
        let candidates = [imp.text(&["tagid"]), self.text(&["dooh", "id"]), self.text(&["device", "ifa"])];
        candidates.into_iter().flatten().find(|id| !id.is_empty())
    }

    /// The venue type of a screen under any of its names; absent where `OpenOOH` has no such type.
    pub fn venuetype(self) -> Option<Cow<'r, str>> {
        match dooh::venue(self.root) {
            Venue::Known(id) => Some(id),
            Venue::Unknown | Venue::Absent => None,
        }
    }

    /// The taxonomy that the venue type is of, where the request says so.
    pub fn venuetypetax(self) -> Option<i64> {
        dooh::venuetypetax(self.root)?.value.as_i64()
    }

    /// How many people the opportunity reaches, as exchanges of older versions say it.
    pub fn audience(self) -> Option<f64> {
        dooh::audience(self.root)?.value.as_f64().filter(|audience| *audience >= 0.0)
    }

    /// Impressions that one play of an imp counts for, in ten-thousandths, when the request says so: `imp.qty`, or for an
    /// imp without one the `impmultiply` of older versions.
    pub fn multiplier_e4(self, imp: Imp<'r, 'j>) -> Option<i64> {
        let value = match imp.root.get("qty") {
            Some(qty) => qty.get("multiplier")?.as_f64()?,
            None => dooh::multiplier(self.root)?.value.as_f64().filter(|multiplier| *multiplier > 0.0)?,
        };
        crate::money::multiplier_e4(value)
    }

    /// `regs.gdpr`, or where it stood before 2.6.
    pub fn gdpr(self) -> Option<i64> {
        self.integer(&["regs", "gdpr"]).or_else(|| self.integer(&["regs", "ext", "gdpr"]))
    }

    /// `regs.us_privacy`, or where it stood before 2.6. One that is no such string is ignored.
    pub fn us_privacy(self) -> Option<&'r str> {
        let text = self.text(&["regs", "us_privacy"]).or_else(|| self.text(&["regs", "ext", "us_privacy"]));
        text.filter(|text| is_us_privacy(text))
    }

    /// Whether the sender passed on a `Sec-GPC` of 1.
    pub fn gpc(self) -> Option<bool> {
        let value = self.root.at(&["regs", "ext", "gpc"])?;
        value.as_str().map(|text| text == "1").or_else(|| value.as_i64().map(|flag| flag == 1))
    }

    /// The supply chain, from `source`, or from its `ext`, where it stood before 2.6.
    pub fn schain(self) -> Option<&'r Json<'j>> {
        self.root.at(&["source", "schain"]).or_else(|| self.root.at(&["source", "ext", "schain"]))
    }

    /// Latitude and longitude of the device, when both are there. `long` is read as `lon`.
    pub fn position(self) -> Option<(f64, f64)> {
        let geo = self.root.at(&["device", "geo"])?;
        let lon = geo.get("lon").or_else(|| geo.get("long"))?;
        Some((geo.get("lat")?.as_f64()?, lon.as_f64()?))
    }

    /// The country of the device as an ISO 3166 alpha-3 code; an alpha-2 code is read as its alpha-3 one, and what is
    /// neither comes back as it stands.
    pub fn country(self) -> Option<&'r str> {
        let code = self.text(&["device", "geo", "country"])?;
        Some(crate::country::alpha_3_of(code).unwrap_or(code))
    }

    /// Whether the request is a test, which is not billable.
    pub fn is_test(self) -> bool {
        self.integer(&["test"]) == Some(1)
    }

    /// A string at a path.
    pub fn text(self, path: &[&str]) -> Option<&'r str> {
        self.root.at(path)?.as_str()
    }

    /// A whole number at a path.
    pub fn integer(self, path: &[&str]) -> Option<i64> {
        self.root.at(path)?.as_i64()
    }

    /// The strings of an array at a path, joined by commas.
    pub fn text_list(self, path: &[&str]) -> Option<String> {
        let elements = self.root.at(path)?.elements();
        let texts: Vec<&str> = elements.iter().filter_map(Json::as_str).collect();
        (!texts.is_empty()).then(|| texts.join(","))
    }

    /// The whole numbers of an array at a path, joined by commas.
    pub fn integer_list(self, path: &[&str]) -> Option<String> {
        let elements = self.root.at(path)?.elements();
        let texts: Vec<String> = elements.iter().filter_map(|value| Some(value.as_i64()?.to_string())).collect();
        (!texts.is_empty()).then(|| texts.join(","))
    }
}

impl<'r> Imp<'r, '_> {
    /// `imp.id`.
    pub fn id(self) -> Option<&'r str> {
        self.text(&["id"])
    }

    /// The offered media types, joined by commas: `banner`, `video`, `audio`, `native`.
    pub fn media_type(self) -> String {
        let types = ["banner", "video", "audio", "native"];
        types.into_iter().filter(|name| self.root.get(name).is_some()).collect::<Vec<_>>().join(",")
    }

    /// The floor, per thousand in micros of [`Imp::floor_cur`]; 0 by the specification's default.
    pub fn floor_cpm_micros(self) -> i64 {
        self.root.get("bidfloor").and_then(Json::as_f64).and_then(crate::money::cpm_micros).unwrap_or(0)
    }

    /// The floor's currency; USD by the specification's default.
    pub fn floor_cur(self) -> &'r str {
        self.text(&["bidfloorcur"]).unwrap_or("USD")
    }

    /// The estimated time of display in milliseconds; a time in seconds, which is common, is read as one.
    pub fn display_ts(self) -> Option<i64> {
        self.root.get("dt")?.as_f64().and_then(crate::time::millis).map(|time| time.ms)
    }

    /// A string at a path.
    pub fn text(self, path: &[&str]) -> Option<&'r str> {
        self.root.at(path)?.as_str()
    }

    /// A whole number at a path.
    pub fn integer(self, path: &[&str]) -> Option<i64> {
        self.root.at(path)?.as_i64()
    }
}

/// Whether a text is the IAB's U.S. privacy string, version 1.
pub(crate) fn is_us_privacy(text: &str) -> bool {
    let is_answer = |byte: u8| matches!(byte.to_ascii_uppercase(), b'Y' | b'N' | b'-');
    matches!(text.as_bytes(), [b'1', rest @ ..] if rest.len() == 3 && rest.iter().copied().all(is_answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = r#"{"id":"a","imp":[{"id":"1","video":{},"banner":{},"qty":{"multiplier":14.2},"bidfloor":2.5,
        "dt":1647010095},{"id":"2","tagid":"t","dt":1647010095000}],"dooh":{"id":"s","venuetypeid":301,"publisher":{"id":"p"}},
        "device":{"geo":{"lat":1,"long":-2.5},"ifa":"i"},"cur":["USD","EUR"],"regs":{"gpp_sid":[7,8]},"test":1}"#;

    #[test]
    fn reads_what_the_rows_need() {
        let json = Json::parse(REQUEST.as_bytes()).unwrap();
        let request = AdRequest::new(&json);
        assert_eq!(request.id(), Some("a"));
        assert_eq!(request.channel(), Some(Channel::Dooh));
        assert_eq!(request.publisher_id(), Some("p"));
        assert_eq!(request.venuetype().as_deref(), Some("301"));
        assert_eq!(request.position(), Some((1.0, -2.5)));
        assert_eq!(request.text_list(&["cur"]).as_deref(), Some("USD,EUR"));
        assert_eq!(request.integer_list(&["regs", "gpp_sid"]).as_deref(), Some("7,8"));
        assert!(request.is_test());
        let imps: Vec<_> = request.imps().collect();
        assert_eq!(imps.iter().map(|imp| request.adunit_id(*imp)).collect::<Vec<_>>(), [Some("s"), Some("t")]);
        assert_eq!(imps[0].media_type(), "banner,video");
        assert_eq!((imps[0].floor_cpm_micros(), imps[0].floor_cur()), (2_500_000, "USD"));
        let multipliers = imps.iter().map(|imp| request.multiplier_e4(*imp));
        assert_eq!(multipliers.collect::<Vec<_>>(), [Some(142_000), None]);
        assert_eq!((imps[0].display_ts(), imps[1].display_ts()), (Some(1_647_010_095_000), Some(1_647_010_095_000)));
    }

    #[test]
    fn what_is_missing_is_none() {
        let json = Json::parse(br#"{"id":"","imp":{}}"#).unwrap();
        let request = AdRequest::new(&json);
        assert_eq!((request.id(), request.channel(), request.publisher_id()), (None, None, None));
        assert_eq!(request.imps().count(), 0);
        assert_eq!(request.position(), None);
    }
    #[test]
    fn members_are_found_where_older_versions_had_them() {
        let text =
            br#"{"regs":{"ext":{"gdpr":1,"us_privacy":"1YNN","gpc":"1"}},"source":{"ext":{"schain":{"complete":1}}},
            "device":{"ext":{"dooh":{"impmultiply":4,"audience":1.5,"venuetypeid":10101}}},
            "imp":[{"id":"1"},{"id":"2","qty":{"multiplier":2}}]}"#;
        let json = Json::parse(text).unwrap();
        let request = AdRequest::new(&json);
        assert_eq!((request.gdpr(), request.us_privacy(), request.gpc()), (Some(1), Some("1YNN"), Some(true)));
        assert!(request.schain().is_some());
        assert_eq!((request.audience(), request.venuetype().as_deref()), (Some(1.5), Some("10101")));
        let multipliers = request.imps().map(|imp| request.multiplier_e4(imp));
        assert_eq!(multipliers.collect::<Vec<_>>(), [Some(40_000), Some(20_000)]);
        let json = Json::parse(br#"{"regs":{"us_privacy":"yes"},"dooh":{"impmultiply":0,"venuetype":["0"]}}"#).unwrap();
        let request = AdRequest::new(&json);
        assert_eq!((request.us_privacy(), request.venuetype(), request.gpc()), (None, None, None));
    }
}
