//! Requests are valid, life-like, and the same for the same seed.

use std::collections::HashSet;

use events::ad_request::{AdRequest, Channel};
use events::json::Json;
use events::validate::{self, Policy};
use events::violation::Severity;

use super::*;
use crate::screen::screens;

const NOW_MS: i64 = 1_795_000_000_000;

fn request(traffic: &Traffic, index: u64) -> String {
    let mut out = Vec::new();
    traffic.write(index, NOW_MS, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn every_request_is_valid_without_a_warning_and_says_what_its_screen_is() {
    let screens = screens(3, 2_000);
    let traffic = Traffic::new(3, &screens, 0).unwrap();
    let mut imps = HashSet::new();
    for index in 0..2_000 {
        let text = request(&traffic, index);
        assert!((1_000..=2_400).contains(&text.len()), "{} bytes: {text}", text.len());
        let json = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(validate::ad_request(&json, Policy::default(), NOW_MS), [], "{text}");
        let request = AdRequest::new(&json);
        assert_eq!(request.channel(), Some(Channel::Dooh));
        let imp = request.imps().next().unwrap();
        let screen = screens.iter().find(|screen| Some(&*screen.adunit_id) == request.adunit_id(imp)).unwrap();
        assert_eq!(request.position(), Some((screen.lat, screen.lon)));
        assert_eq!(request.venuetype().as_deref(), Some(&*screen.venuetype_id.to_string()));
        assert_eq!(request.publisher_id(), Some(&*screen.publisher_id));
        let display_ms = imp.display_ts().unwrap() - NOW_MS;
        assert!((2_000..=60_000).contains(&display_ms), "{display_ms}");
        assert!((1_000_000..10_000_000).contains(&imp.floor_cpm_micros()));
        assert!(request.multiplier_e4(imp).is_some_and(|multiplier| multiplier > 0));
        imps.insert(request.imps().count());
    }
    assert_eq!(imps, HashSet::from([1, 2]));
}

#[test]
fn bodies_are_of_the_size_of_real_ones() {
    let traffic = Traffic::new(1, &screens(1, 1_000), 0).unwrap();
    let mut sizes: Vec<_> = (0..1_000).map(|index| request(&traffic, index).len()).collect();
    sizes.sort_unstable();
    assert!((1_300..1_700).contains(&sizes[500]), "median {}", sizes[500]);
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_gives_others() {
    let screens = screens(1, 50);
    let [first, again, other] = [1, 1, 2].map(|seed| Traffic::new(seed, &screens, 500).unwrap());
    let mut ids = HashSet::new();
    for index in 0..500 {
        assert_eq!(request(&first, index), request(&again, index));
        assert_ne!(request(&first, index), request(&other, index));
        ids.insert(request(&first, index).get(..44).map(str::to_owned));
    }
    assert_eq!(ids.len(), 500);
}

#[test]
fn golden_request() {
    let traffic = Traffic::new(1, &screens(1, 10), 0).unwrap();
    expect_test::expect![[r#"{"id":"c02a3f43-7130-4f89-946e-729c0007c7dc","imp":[{"id":"1","tagid":"hel-202-000002","instl":0,"secure":1,"video":{"mimes":["video/mp4","video/webm","image/jpeg"],"minduration":5,"maxduration":8,"protocols":[2,3,7],"w":1080,"h":1920,"startdelay":0,"linearity":1,"skip":0,"playbackmethod":[1],"delivery":[2]},"qty":{"multiplier":1.82,"sourcetype":1,"vendor":"measurement.example"},"dt":1795000048575,"exp":3600,"bidfloor":1.97,"bidfloorcur":"USD"}],"dooh":{"id":"hel-202-000002","name":"Helsinki convenience store 2","venuetype":["202"],"venuetypetax":5,"domain":"pub-03.example","publisher":{"id":"pub-03","name":"Publisher pub-03","domain":"pub-03.example"}},"device":{"devicetype":8,"ua":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/125.0.0.0 Safari/537.36","ip":"203.0.113.21","make":"Signboard","model":"P-125","os":"Linux","w":1080,"h":1920,"ppi":55,"language":"en","ifa":"cd572b42-4929-4c9e-92d5-cdff9b4ec2e0","ifa_type":"ppid","geo":{"type":1,"lat":60.142225,"lon":24.957255,"accuracy":10,"country":"FIN","city":"Helsinki"}},"at":1,"tmax":300,"cur":["USD"],"test":0,"bcat":["IAB7-39","IAB25","IAB26"],"source":{"fd":0,"tid":"9003741b-fcb0-40d4-8a18-1ceb950c99b0","schain":{"complete":1,"ver":"1.0","nodes":[{"asi":"pub-03.example","sid":"pub-03","hp":1},{"asi":"screens.example","sid":"x-pub-03","hp":1}]}},"regs":{"coppa":0,"gdpr":1},"user":{"consent":"CPXxRfAPXxRfAAfKABENB-CgAAAAAAAAAAYgAAAAAAAA"}}"#]].assert_eq(&request(&traffic, 0));
}

#[test]
fn the_announced_share_is_invalid_in_every_way() {
    let traffic = Traffic::new(5, &screens(5, 100), 1_000).unwrap();
    let mut codes = HashSet::new();
    let mut invalid = 0;
    for index in 0..10_000 {
        let text = request(&traffic, index);
        let code = match Json::parse(text.as_bytes()) {
            Err(_) => Some("json.syntax"),
            Ok(json) => {
                let found = validate::ad_request(&json, Policy::default(), NOW_MS);
                found.into_iter().find(|found| found.severity == Severity::Error).map(|found| found.code)
            }
        };
        assert_eq!(code.is_some(), traffic.is_invalid(index));
        invalid += usize::from(code.is_some());
        codes.extend(code);
    }
    assert!((900..1_100).contains(&invalid), "{invalid}");
    assert_eq!(codes, HashSet::from(["json.syntax", "imp.required", "channel.missing", "flags"]));
    assert_eq!(Traffic::new(1, &[], 0).err(), Some(NoScreens));
}
