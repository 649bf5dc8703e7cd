//! Every column of every row, from one event.

mod events_around;

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampMillisecondType};
use events::enriched::{ImpEnrichment, MultiplierSource, ScreenFacts};
use events::envelope::{EventType, SCHEMA_VERSION};
use events::event_id::EventId;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const BODY: &str = r#"{"id":"auction-1","imp":[{"id":"1","tagid":"unit-1","video":{},"banner":{},"qty":{"multiplier":14.2},
"bidfloor":2.5,"bidfloorcur":"EUR","dt":1647010095,"exp":30,"ssai":2},{"id":"2"}],
"dooh":{"id":"unit-2","name":"Tower","domain":"x.example","venuetypeid":301,"publisher":{"id":"pub-r"}},
"device":{"ua":"ua","ifa":"ifa","w":1920,"h":1080,"geo":{"lat":52.5,"lon":-13.25,"country":"DEU"}},
"at":1,"tmax":250,"cur":["USD","EUR"],"test":1,"source":{"tid":"tid","fd":1},
"regs":{"coppa":0,"gdpr":1,"us_privacy":"1YNN","gpp_sid":[7,8]}}"#;

fn envelope<'a>() -> Envelope<'a> {
    let screen = ScreenFacts {
        publisher_id: "pub-s".into(),
        venuetype_id: 301,
        venuetype_parent: 3,
        city: "Berlin".into(),
        country: "DEU".into(),
        tz: "Europe/Berlin".into(),
        local_ts: 1_795_003_600_123,
        local_hour: 12,
    };
    let known = ImpEnrichment {
        adunit_id: Some("unit-1".into()),
        screen: Some(screen),
        multiplier_e4: 142_000,
        multiplier_source: MultiplierSource::Request,
        floor_cost_micros: Some(35_500),
    };
    let unknown = ImpEnrichment {
        adunit_id: Some("unit-2".into()),
        screen: None,
        multiplier_e4: 10_000,
        multiplier_source: MultiplierSource::Default,
        floor_cost_micros: None,
    };
    Envelope {
        event_id: EventId::of_content("demo", "ad_request", "auction-1", BODY.as_bytes()),
        event_type: EventType::AdRequest,
        schema_version: SCHEMA_VERSION,
        tenant_id: "demo".into(),
        auction_id: "auction-1".into(),
        received_ts: 1_795_000_000_123,
        endpoint: "/v1/ad_requests".into(),
        handler_us: 17,
        warnings: vec!["a".into(), "b".into()],
        enrichment: Some(Enrichment {
            event_ts: 1_795_000_000_123,
            enriched_ts: 1_795_000_001_000,
            imps: vec![known, unknown],
            screen: None,
        }),
    }
}

fn rows_of(record: &[u8]) -> Vec<HourBatch> {
    let mut rows = Rows::default();
    rows.append(record).unwrap();
    rows.finish().unwrap()
}

fn show(column: &dyn Array, row: usize) -> String {
    let kinds = [
        column.as_string_opt::<i32>().map(|column| format!("{:?}", column.value(row))),
        column.as_primitive_opt::<Int32Type>().map(|column| column.value(row).to_string()),
        column.as_primitive_opt::<Int64Type>().map(|column| column.value(row).to_string()),
        column.as_primitive_opt::<Float64Type>().map(|column| column.value(row).to_string()),
        column.as_primitive_opt::<TimestampMillisecondType>().map(|column| format!("@{}", column.value(row))),
        column.as_boolean_opt().map(|column| column.value(row).to_string()),
    ];
    if column.is_null(row) { "-".into() } else { kinds.into_iter().flatten().next().unwrap() }
}

fn check(batch: &RecordBatch, row: usize, expect: &Expect) {
    let shown: BTreeMap<usize, String> = batch
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| field.name() != "body")
        .map(|(index, field)| (index, format!("{} {}\n", field.name(), show(batch.column(index), row))))
        .collect();
    expect.assert_eq(&shown.into_values().collect::<String>());
}

#[test]
fn every_column_of_an_ad_request() {
    let rows = rows_of(&envelope().write(BODY).unwrap());
    let (table, hour, batch) = &rows[0];
    assert_eq!((table.name, batch.num_rows()), ("ad_requests", 1));
    assert_eq!(hour.to_string(), "event_date=2026-11-18/event_hour=11");
    assert_eq!(batch.column_by_name("body").unwrap().as_string::<i32>().value(0), BODY);
    check(
        batch,
        0,
        &expect![[r#"
            event_id "13fa2167-2f13-85ae-ba70-7d52937e6c96"
            schema_version 1
            tenant_id "demo"
            auction_id "auction-1"
            event_ts @1795000000123
            received_ts @1795000000123
            enriched_ts @1795000001000
            endpoint "/v1/ad_requests"
            handler_us 17
            warnings "a,b"
            channel "dooh"
            adunit_id "unit-1"
            publisher_id "pub-r"
            dooh_id "unit-2"
            dooh_name "Tower"
            dooh_domain "x.example"
            dooh_audience -
            imps 2
            at 1
            tmax_ms 250
            cur "USD,EUR"
            test true
            source_tid "tid"
            source_fd 1
            regs_coppa 0
            regs_gdpr 1
            regs_us_privacy "1YNN"
            regs_gpp_sid "7,8"
            regs_gpc -
            schain_complete -
            schain_nodes -
            device_ua "ua"
            device_ifa "ifa"
            device_w 1920
            device_h 1080
            device_ppi -
            device_geo_lat 52.5
            device_geo_lon -13.25
            device_geo_country "DEU"
            body_bytes 532
        "#]],
    );
}

#[test]
fn every_column_of_an_imp() {
    let rows = rows_of(&envelope().write(BODY).unwrap());
    let (table, _, batch) = &rows[1];
    assert_eq!((table.name, batch.num_rows()), ("imps", 2));
    check(
        batch,
        0,
        &expect![[r#"
            event_id "13fa2167-2f13-85ae-ba70-7d52937e6c96"
            imp_index 0
            tenant_id "demo"
            auction_id "auction-1"
            imp_id "1"
            event_ts @1795000000123
            received_ts @1795000000123
            adunit_id "unit-1"
            imp_tagid "unit-1"
            media_type "banner,video"
            imp_bidfloor_cpm_micros 2500000
            imp_bidfloorcur "EUR"
            imp_qty_multiplier_e4 142000
            multiplier_source "request"
            floor_cost_micros 35500
            imp_dt_ts @1647010095000
            imp_exp_s 30
            imp_ssai 2
            screen_known true
            publisher_id "pub-s"
            venuetype_id 301
            venuetype_parent 3
            request_venuetype "301"
            venuetypetax -
            city "Berlin"
            country "DEU"
            device_geo_lat 52.5
            device_geo_lon -13.25
            tz "Europe/Berlin"
            local_ts @1795003600123
            local_hour 12
            test true
        "#]],
    );
}

#[test]
fn every_column_of_an_imp_of_an_unknown_ad_unit() {
    let rows = rows_of(&envelope().write(BODY).unwrap());
    let (_, _, batch) = &rows[1];
    check(
        batch,
        1,
        &expect![[r#"
            event_id "13fa2167-2f13-85ae-ba70-7d52937e6c96"
            imp_index 1
            tenant_id "demo"
            auction_id "auction-1"
            imp_id "2"
            event_ts @1795000000123
            received_ts @1795000000123
            adunit_id "unit-2"
            imp_tagid -
            media_type ""
            imp_bidfloor_cpm_micros 0
            imp_bidfloorcur "USD"
            imp_qty_multiplier_e4 10000
            multiplier_source "default"
            floor_cost_micros -
            imp_dt_ts -
            imp_exp_s -
            imp_ssai -
            screen_known false
            publisher_id "pub-r"
            venuetype_id -
            venuetype_parent -
            request_venuetype "301"
            venuetypetax -
            city -
            country -
            device_geo_lat 52.5
            device_geo_lon -13.25
            tz -
            local_ts -
            local_hour -
            test true
        "#]],
    );
}

#[test]
fn what_is_missing_is_null_and_what_does_not_fit_stays_in_the_body() {
    let mut envelope = envelope();
    envelope.warnings.clear();
    envelope.enrichment.as_mut().unwrap().imps.clear();
    let rows = rows_of(&envelope.write(r#"{"at":99999999999,"device":{"w":1.5}}"#).unwrap());
    assert_eq!(rows.len(), 1, "no imps, no rows of imps");
    let batch = &rows[0].2;
    let nulls = batch.schema().fields().iter().zip(batch.columns()).filter(|(_, column)| column.is_null(0)).count();
    let nullable = AD_REQUESTS.columns.iter().filter(|column| column.nullable).count();
    assert_eq!(nulls, nullable);
}

#[test]
fn what_gives_no_rows_gives_none_at_all() {
    let check = |record: &[u8], expect: &str| {
        let mut rows = Rows::default();
        let error = rows.append(record).unwrap_err();
        assert_eq!(error.code(), expect, "{error:?}");
        assert!(rows.finish().unwrap().is_empty());
    };
    check(b"{}", "event");
    check(b"\xff", "event");
    check(&envelope().write(r#""no end"#).unwrap(), "body");
    check(&envelope().write(r#""no object""#).unwrap(), "enrichment.imps");
    let nested = format!("{}{}", "[".repeat(50), "]".repeat(50));
    check(&envelope().write(&nested).unwrap(), "body");
    check(&Envelope { enrichment: None, ..envelope() }.write(BODY).unwrap(), "enrichment");
    check(&envelope().write(r#"{"imp":[{}]}"#).unwrap(), "enrichment.imps");
    let mut late = envelope();
    late.enrichment.as_mut().unwrap().event_ts = i64::MAX;
    check(&late.write(BODY).unwrap(), "enrichment.event_ts");
}

proptest! {
    #[test]
    fn any_body_comes_back_byte_for_byte(text in "\\PC*", spaces in "[ \n\r\t]*") {
        let mut envelope = envelope();
        envelope.enrichment.as_mut().unwrap().imps.clear();
        let body = format!("{spaces}{{\"x\":{}}}{spaces}", serde_json::to_string(&text).unwrap());
        let rows = rows_of(&envelope.write(&body).unwrap());
        let (_, _, batch) = &rows[0];
        prop_assert_eq!(batch.column_by_name("body").unwrap().as_string::<i32>().value(0), body);
    }
}
