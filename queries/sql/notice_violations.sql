-- title: Notices that break a rule, each with the facts it breaks it against
-- question: Which notices bill more than was bid, more people than were offered, at the wrong time, twice, or for nothing?
-- table: notices
-- parameter d0: first day, by event_date of the notice in UTC
-- parameter d1: last day, included
-- column received_ts: when the notice was received
-- column tenant_id: whose notice it is
-- column event_type: win_notice, loss_notice or billing_notice
-- column event_id: the notice
-- column auction_id: its auction
-- column imp_id: its imp
-- column dsp_id: bidder that was told, else the one that won
-- column rules: orphan, price_above_bid, multiplier_above_requested, imp_ts_outside, second_billing; joined by commas
-- column auction_price_cpm_micros: price of the notice
-- column bid_price_cpm_micros: highest bid of that bidder for the imp
-- column auction_multiplier_e4: multiplier of the notice
-- column requested_multiplier_e4: multiplier of the imp
-- column imp_ts: when the ad was displayed, by the notice
-- column auction_ts: when the auction ended
-- column exp_s: seconds from the auction that the bid allows, else the imp, else 48 hours
SELECT received_ts,
       tenant_id,
       event_type,
       event_id,
       auction_id,
       imp_id,
       dsp_id,
       rules,
       auction_price_cpm_micros,
       bid_price_cpm_micros,
       auction_multiplier_e4,
       requested_multiplier_e4,
       imp_ts,
       auction_ts,
       exp_s
FROM (
    SELECT joined.*,
           concat_ws(',',
               CASE WHEN event_type = 'loss_notice' AND bid_price_cpm_micros IS NULL THEN 'orphan'
                    WHEN event_type <> 'loss_notice' AND NOT coalesce(is_sold, false) THEN 'orphan' END,
               -- What a loser is told is the price of the winner.
               CASE WHEN event_type <> 'loss_notice' AND auction_price_cpm_micros > bid_price_cpm_micros
                    THEN 'price_above_bid' END,
               CASE WHEN auction_multiplier_e4 > requested_multiplier_e4 THEN 'multiplier_above_requested' END,
               -- An hour of grace, for players that report late.
               CASE WHEN imp_ts < auction_ts OR date_diff('second', auction_ts, imp_ts) > exp_s + 3600
                    THEN 'imp_ts_outside' END,
               CASE WHEN billing_number > 1 THEN 'second_billing' END) AS rules
    FROM (
        SELECT notice.*,
               offer.bid_price_cpm_micros,
               asked.requested_multiplier_e4,
               coalesce(offer.bid_exp_s, asked.imp_exp_s, 172800) AS exp_s
        FROM (
            SELECT received.received_ts,
                   received.event_date,
                   received.tenant_id,
                   received.event_type,
                   received.event_id,
                   received.auction_id,
                   received.imp_id,
                   coalesce(received.dsp_id, sold.winner_id) AS dsp_id,
                   received.auction_price_cpm_micros,
                   coalesce(received.auction_currency, 'USD') AS currency,
                   received.auction_multiplier_e4,
                   received.imp_ts,
                   sold.is_sold,
                   sold.auction_ts,
                   -- The first billing that the bidder took is the billable one; attempts that failed do not count.
                   CASE WHEN received.event_type = 'billing_notice'
                             AND coalesce(received.http_status, 200) IN (200, 204)
                             AND NOT coalesce(received.test, false)
                        THEN row_number() OVER (
                            PARTITION BY received.tenant_id,
                                         received.auction_id,
                                         received.imp_id,
                                         received.event_type,
                                         coalesce(received.http_status, 200) IN (200, 204)
                            ORDER BY received.received_ts, received.event_id) END AS billing_number
            FROM notices AS received
            LEFT JOIN (
                SELECT tenant_id,
                       auction_id,
                       imp_id,
                       true AS is_sold,
                       max(dsp_id) AS winner_id,
                       min(auction_ts) AS auction_ts
                FROM auctions
                WHERE event_date BETWEEN :d0 - INTERVAL '3' DAY AND :d1
                  AND status = 'filled'
                GROUP BY tenant_id, auction_id, imp_id
            ) AS sold
              ON sold.tenant_id = received.tenant_id
             AND sold.auction_id = received.auction_id
             AND sold.imp_id = received.imp_id
            WHERE received.event_date BETWEEN :d0 - INTERVAL '3' DAY AND :d1
        ) AS notice
        LEFT JOIN (
            SELECT tenant_id,
                   auction_id,
                   imp_id,
                   dsp_id,
                   coalesce(bid_cur, 'USD') AS currency,
                   max(bid_price_cpm_micros) AS bid_price_cpm_micros,
                   max(bid_exp_s) AS bid_exp_s
            FROM bids
            WHERE event_date BETWEEN :d0 - INTERVAL '3' DAY AND :d1
            GROUP BY tenant_id, auction_id, imp_id, dsp_id, coalesce(bid_cur, 'USD')
        ) AS offer
          ON offer.tenant_id = notice.tenant_id
         AND offer.auction_id = notice.auction_id
         AND offer.imp_id = notice.imp_id
         AND offer.dsp_id = notice.dsp_id
         AND offer.currency = notice.currency
        LEFT JOIN (
            SELECT tenant_id,
                   auction_id,
                   imp_id,
                   max(imp_qty_multiplier_e4) AS requested_multiplier_e4,
                   max(imp_exp_s) AS imp_exp_s
            FROM imps
            WHERE event_date BETWEEN :d0 - INTERVAL '3' DAY AND :d1
            GROUP BY tenant_id, auction_id, imp_id
        ) AS asked
          ON asked.tenant_id = notice.tenant_id
         AND asked.auction_id = notice.auction_id
         AND asked.imp_id = notice.imp_id
        WHERE notice.event_date BETWEEN :d0 AND :d1
    ) AS joined
) AS checked
WHERE rules <> ''
ORDER BY received_ts, event_id
LIMIT 1000
