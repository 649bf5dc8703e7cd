//! The events around an ad request: one row each in its table, and the bids of a response.

use super::*;

const RESPONSE: &str = r#"{"auction_id":"a","dsp_id":7,"outcome":"bid","http_status":200,"latency_ms":87,"test":1,
"response":{"id":"a","bidid":"x","cur":"EUR","seatbid":[{"seat":"s-1","bid":[{"id":"b-1","impid":"1","price":2.5,"adomain":["a.example","b.example"],"attr":[1,2],"exp":60}]},
{"seat":"s-2","bid":[{"id":"b-2","impid":"2","price":-1,"dur":"x"}]}]}}"#;

fn rows_of_type(event_type: EventType, body: &str) -> Vec<HourBatch> {
    let mut envelope = Envelope { event_type, auction_id: "a".into(), ..envelope() };
    envelope.enrichment.as_mut().unwrap().imps.clear();
    rows_of(&envelope.write(body).unwrap())
}

/// The columns that are not the envelope's.
fn check(batch: &RecordBatch, row: usize, expect: &Expect) {
    let envelope = [
        "schema_version",
        "tenant_id",
        "event_ts",
        "received_ts",
        "enriched_ts",
        "endpoint",
        "body_bytes",
        "body",
        "warnings",
    ];
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let shown = columns.filter(|(field, _)| !envelope.contains(&field.name().as_str()));
    let lines = shown.map(|(field, column)| format!("{} {}\n", field.name(), show(column, row)));
    expect.assert_eq(&lines.collect::<String>());
}

#[test]
fn a_response_is_one_row_and_its_bids_are_theirs() {
    let rows = rows_of_type(EventType::BidResponse, RESPONSE);
    assert_eq!(rows.iter().map(|(table, ..)| table.name).collect::<Vec<_>>(), ["bid_responses", "bids"]);
    check(
        &rows[0].2,
        0,
        &expect![[r#"
            event_id "13fa2167-2f13-85ae-ba70-7d52937e6c96"
            event_type "bid_response"
            auction_id "a"
            dsp_id "7"
            outcome "bid"
            http_status 200
            latency_ms 87
            nbr -
            nonbid_statuscode -
            response_bytes -
            response_id "a"
            bidid "x"
            cur "EUR"
            test true
        "#]],
    );
}

#[test]
fn each_bid_of_a_response_is_a_row() {
    let rows = rows_of_type(EventType::BidResponse, RESPONSE);
    assert_eq!(rows[1].2.num_rows(), 2);
    check(
        &rows[1].2,
        0,
        &expect![[r#"
            event_id "13fa2167-2f13-85ae-ba70-7d52937e6c96"
            bid_index 0
            auction_id "a"
            dsp_id "7"
            seat_id "s-1"
            bid_id "b-1"
            bidid "x"
            imp_id "1"
            bid_price_cpm_micros 2500000
            bid_cur "EUR"
            dealid -
            crid -
            cid -
            adid -
            adomain "a.example,b.example"
            cat -
            attr "1,2"
            mtype -
            dur_s -
            bid_exp_s 60
            loss_reason -
        "#]],
    );
    check(
        &rows[1].2,
        1,
        &expect![[r#"
            event_id "13fa2167-2f13-85ae-ba70-7d52937e6c96"
            bid_index 1
            auction_id "a"
            dsp_id "7"
            seat_id "s-2"
            bid_id "b-2"
            bidid "x"
            imp_id "2"
            bid_price_cpm_micros -
            bid_cur "EUR"
            dealid -
            crid -
            cid -
            adid -
            adomain -
            cat -
            attr -
            mtype -
            dur_s -
            bid_exp_s -
            loss_reason -
        "#]],
    );
}

#[test]
fn every_type_has_its_table_and_keeps_its_bytes() {
    for event_type in EventType::COLLECTED {
        for body in ["{}", r#"{"auction_id":"a",  "imp_ts":1795000000,"new":{"x":[1]}}"#, "7", "[]", "\"text\""] {
            let rows = rows_of_type(event_type, body);
            let (table, _, batch) = &rows[0];
            assert!(std::ptr::eq(*table, of_event(event_type).unwrap()), "{event_type:?}");
            assert_eq!((rows.len(), batch.num_rows()), (1, 1));
            assert_eq!(batch.column_by_name("body").unwrap().as_string::<i32>().value(0), body);
        }
    }
}

#[test]
fn columns_of_plays_and_auctions() {
    let play = r#"{"play_id":"p","adunit_id":"u","auction_id":"a","imp_id":1,"imp_ts":1795000000,"end_ts":1795000008000,"played_ms":8000,"play_status":"completed","multiplier":14.2,"test":true}"#;
    check(
        &rows_of_type(EventType::ProofOfPlay, play)[0].2,
        0,
        &expect![[r#"
            event_id "13fa2167-2f13-85ae-ba70-7d52937e6c96"
            event_type "proof_of_play"
            auction_id "a"
            play_id "p"
            adunit_id "u"
            imp_id "1"
            dsp_id -
            crid -
            imp_ts @1795000000000
            end_ts @1795000008000
            played_ms 8000
            play_status "completed"
            multiplier_e4 142000
            player_version -
            reported_batch_id -
            test true
            publisher_id -
            venuetype_id -
            venuetype_parent -
            city -
            country -
            tz -
            local_ts -
            local_hour -
        "#]],
    );
    let auction = r#"{"imp_id":"1","status":"filled","clearing_cpm":2.4,"clearing_cur":"USD","market_bid_ratio":0.9,"bids_received":3.5,"at":99999999999}"#;
    check(
        &rows_of_type(EventType::Auction, auction)[0].2,
        0,
        &expect![[r#"
            event_id "13fa2167-2f13-85ae-ba70-7d52937e6c96"
            event_type "auction"
            auction_id "a"
            imp_id "1"
            adunit_id -
            status "filled"
            no_fill_reason -
            auction_ts -
            bids_received -
            dsp_id -
            seat_id -
            bid_id -
            dealid -
            crid -
            at -
            clearing_cpm_micros 2400000
            clearing_cur "USD"
            floor_cpm_micros -
            floor_cur -
            market_bid_ratio 0.9
            test -
            publisher_id -
            venuetype_id -
            venuetype_parent -
            city -
            country -
            tz -
            local_ts -
            local_hour -
        "#]],
    );
}

#[test]
fn columns_of_notices() {
    let notice = r#"{"imp_id":"1","auction_price":2.4,"auction_multiplier":3.5,"auction_loss":102,"auction_imp_ts":1795000000000}"#;
    check(
        &rows_of_type(EventType::BillingNotice, notice)[0].2,
        0,
        &expect![[r#"
            event_id "13fa2167-2f13-85ae-ba70-7d52937e6c96"
            event_type "billing_notice"
            auction_id "a"
            imp_id "1"
            dsp_id -
            seat_id -
            bid_id -
            ad_id -
            adunit_id -
            url_host -
            attempt -
            http_status -
            latency_ms -
            auction_price_cpm_micros 2400000
            auction_currency -
            auction_multiplier_e4 35000
            auction_loss 102
            auction_min_to_win_cpm_micros -
            auction_mbr -
            imp_ts @1795000000000
            test -
            publisher_id -
            venuetype_id -
            venuetype_parent -
            city -
            country -
            tz -
            local_ts -
            local_hour -
        "#]],
    );
}

#[test]
fn what_the_door_refused_is_no_row() {
    let envelope = Envelope { event_type: EventType::FailedEvent, ..envelope() };
    let error = Rows::default().append(&envelope.write("{}").unwrap()).unwrap_err();
    assert_eq!(error.code(), "event_type");
}
