//! One request of one screen, rendered once; what differs from request to request is patched in place.
//!
//! A request costs one copy of about 1.3 KB and a few patches of fixed width, well below a microsecond, so that the
//! generator takes little of the machine it shares with what it measures. A template takes as much memory as its body.

use std::io::Write;
use std::ops::Range;

use events::screen::Screen;
use uuid::Uuid;

use crate::random::Random;

/// Width of a UUID as text.
const UUID_BYTES: usize = 36;

/// Width of a time in milliseconds since the epoch, from 2001 to 2286.
const MILLIS_BYTES: usize = 13;

/// Width of a price such as `4.20`.
const PRICE_BYTES: usize = 4;

/// Seats that deals are offered to: the demand-side platforms of the exchange.
const SEATS: [&str; 5] = ["dsp-north", "dsp-harbor", "dsp-meadow", "dsp-summit", "dsp-canal"];

/// A deal that an imp offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deal {
    pub(crate) number: u32,
    /// The only seat that it is for.
    pub(crate) seat: &'static str,
}

/// A screen's request with the places that differ.
#[derive(Debug, Clone)]
pub struct Template {
    text: Vec<u8>,
    /// One an imp.
    deals: Vec<Option<Deal>>,
    request_id: Range<usize>,
    transaction_id: Range<usize>,
    display_times: Vec<(Range<usize>, i64)>,
    prices: Vec<Range<usize>>,
    imp_key: Range<usize>,
    channel_key: Range<usize>,
    gdpr_flag: Range<usize>,
}

/// What differs from request to request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Values {
    pub(crate) request_id: [u8; 16],
    pub(crate) transaction_id: [u8; 16],
    /// When the first slot would be displayed, in milliseconds since the epoch.
    pub(crate) display_ms: i64,
    /// Floor per thousand in hundredths, from 100 to 999.
    pub(crate) floor_cents: u32,
    pub(crate) fault: Option<Fault>,
}

/// Ways in which a request is wrong; each is refused by a structural rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The last brace is missing.
    Truncated,
    /// There is no `imp`.
    NoImp,
    /// There is no channel.
    NoChannel,
    /// `regs.gdpr` is neither 0 nor 1.
    WrongFlag,
}

impl Fault {
    pub(crate) const ALL: [Fault; 4] = [Fault::Truncated, Fault::NoImp, Fault::NoChannel, Fault::WrongFlag];
}

impl Template {
    /// Renders a screen's request. `random` decides what stays the same for the screen: its player, its deals.
    pub(crate) fn new(screen: &Screen, gdpr: bool, mut random: Random) -> Self {
        let mut page = Page::default();
        page.text(r#"{"id":""#);
        let request_id = page.patch(UUID_BYTES);
        page.text(r#"",""#);
        let imp_key = page.key("imp");
        page.text(r#"":["#);
        // One screen in five asks for its next two slots at once.
        let slots = 1 + i64::from(random.below(5) == 0);
        for slot in 0..slots {
            page.text(if slot == 0 { "" } else { "," });
            page.imp(screen, slot, &mut random);
        }
        page.text(r#"],""#);
        let channel_key = page.key("dooh");
        page.dooh(screen);
        page.device(screen, &mut random);
        page.text(
            r#","at":1,"tmax":300,"cur":["USD"],"test":0,"bcat":["IAB7-39","IAB25","IAB26"],"source":{"fd":0,"tid":""#,
        );
        let transaction_id = page.patch(UUID_BYTES);
        page.text(&format!(
            r#"","schain":{{"complete":1,"ver":"1.0","nodes":[{{"asi":"{publisher}.example","sid":"{publisher}","hp":1}},{{"asi":"screens.example","sid":"x-{publisher}","hp":1}}]}}}},"regs":{{"coppa":0,"gdpr":"#,
            publisher = screen.publisher_id,
        ));
        let gdpr_flag = page.key(if gdpr { "1" } else { "0" });
        page.text("}");
        if gdpr {
            // What a screen's publisher says for all who pass by: a TCF string with nothing agreed to.
            page.text(r#","user":{"consent":"CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"}"#);
        }
        page.text("}");
        let Page { text, display_times, prices, deals } = page;
        Self { text, deals, request_id, transaction_id, display_times, prices, imp_key, channel_key, gdpr_flag }
    }

    /// The deals of the imps, as many as there are imps.
    pub(crate) fn deals(&self) -> &[Option<Deal>] {
        &self.deals
    }

    /// Appends a request with these values.
    pub(crate) fn write(&self, values: &Values, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.text);
        let (_, body) = out.split_at_mut(start);
        put(body, &self.request_id, &uuid(values.request_id));
        put(body, &self.transaction_id, &uuid(values.transaction_id));
        for (range, offset_ms) in &self.display_times {
            write_number(body, range, format_args!("{:0>MILLIS_BYTES$}", values.display_ms + offset_ms));
        }
        for range in &self.prices {
            let (whole, cents) = (values.floor_cents / 100, values.floor_cents % 100);
            write_number(body, range, format_args!("{whole}.{cents:02}"));
        }
        match values.fault {
            None => {}
            Some(Fault::Truncated) => drop(out.pop()),
            Some(Fault::NoImp) => put(body, &self.imp_key, b"imq"),
            Some(Fault::NoChannel) => put(body, &self.channel_key, b"dook"),
            Some(Fault::WrongFlag) => put(body, &self.gdpr_flag, b"7"),
        }
    }
}

fn put(body: &mut [u8], range: &Range<usize>, bytes: &[u8]) {
    if let Some(place) = body.get_mut(range.clone())
        && place.len() == bytes.len()
    {
        place.copy_from_slice(bytes);
    }
}

fn write_number(body: &mut [u8], range: &Range<usize>, number: std::fmt::Arguments<'_>) {
    if let Some(mut place) = body.get_mut(range.clone()) {
        place.write_fmt(number).expect("the place has the width that the number is written with");
    }
}

pub(crate) fn uuid(bytes: [u8; 16]) -> [u8; UUID_BYTES] {
    let mut text = [0; UUID_BYTES];
    uuid::Builder::from_random_bytes(bytes).into_uuid().hyphenated().encode_lower(&mut text);
    text
}

/// A request in the making.
#[derive(Debug, Default)]
struct Page {
    text: Vec<u8>,
    display_times: Vec<(Range<usize>, i64)>,
    prices: Vec<Range<usize>>,
    deals: Vec<Option<Deal>>,
}

impl Page {
    fn text(&mut self, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
    }

    /// Writes a text that a fault may change.
    fn key(&mut self, text: &str) -> Range<usize> {
        let start = self.text.len();
        self.text(text);
        start..self.text.len()
    }

    /// Leaves room that every request fills.
    fn patch(&mut self, bytes: usize) -> Range<usize> {
        let start = self.text.len();
        self.text.resize(start + bytes, b'0');
        start..self.text.len()
    }

    fn price(&mut self) {
        let range = self.patch(PRICE_BYTES);
        self.prices.push(range);
    }

    fn imp(&mut self, screen: &Screen, slot: i64, random: &mut Random) {
        let Screen { adunit_id, width, height, slot_s, multiplier, .. } = screen;
        self.text(&format!(
            r#"{{"id":"{}","tagid":"{adunit_id}","instl":0,"secure":1,"video":{{"mimes":["video/mp4","video/webm","image/jpeg"],"minduration":5,"maxduration":{slot_s},"protocols":[2,3,7],"w":{width},"h":{height},"startdelay":0,"linearity":1,"skip":0,"playbackmethod":[1],"delivery":[2]}},"qty":{{"multiplier":{multiplier},"sourcetype":1,"vendor":"measurement.example"}},"dt":"#,
            slot + 1
        ));
        let range = self.patch(MILLIS_BYTES);
        self.display_times.push((range, slot * i64::from(*slot_s) * 1_000));
        self.text(r#","exp":3600,"bidfloor":"#);
        self.price();
        self.text(r#","bidfloorcur":"USD""#);
        // Two screens in five are part of deals.
        let has_deal = random.below(5) < 2;
        self.deals.push(None);
        if has_deal {
            let seat = random.pick(&SEATS).copied().unwrap_or_default();
            let deal = random.below(900) + 100;
            if let Some(last) = self.deals.last_mut() {
                *last = Some(Deal { number: deal, seat });
            }
            self.text(&format!(r#","pmp":{{"private_auction":0,"deals":[{{"id":"deal-{deal}","at":3,"wseat":["{seat}"],"bidfloorcur":"USD","bidfloor":"#));
            self.price();
            self.text("}]}");
        }
        self.text("}");
    }

    fn dooh(&mut self, screen: &Screen) {
        // Taxonomy 5 is OpenOOH 1.1.
        self.text(&format!(
            r#"":{{"id":"{id}","name":"{name}","venuetype":["{venuetype}"],"venuetypetax":5,"domain":"{publisher}.example","publisher":{{"id":"{publisher}","name":"Publisher {publisher}","domain":"{publisher}.example"}}}}"#,
            id = screen.adunit_id,
            name = screen.name,
            venuetype = screen.venuetype_id,
            publisher = screen.publisher_id,
        ));
    }

    fn device(&mut self, screen: &Screen, random: &mut Random) {
        let (version, host) = (random.below(20) + 110, random.below(254) + 1);
        let ifa = uuid(random.bytes16());
        self.text(&format!(
            r#","device":{{"devicetype":8,"ua":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36","ip":"203.0.113.{host}","make":"Signboard","model":"P-{version}","os":"Linux","w":{width},"h":{height},"ppi":55,"language":"en","ifa":"{ifa}","ifa_type":"ppid","geo":{{"type":1,"lat":{lat},"lon":{lon},"accuracy":10,"country":"{country}","city":"{city}"}}}}"#,
            width = screen.width,
            height = screen.height,
            ifa = String::from_utf8_lossy(&ifa),
            lat = screen.lat,
            lon = screen.lon,
            country = screen.country,
            city = screen.city,
        ));
    }
}

const _: () = assert!(UUID_BYTES == uuid::fmt::Hyphenated::LENGTH && size_of::<Uuid>() == 16);
