-- title: How long ad requests took, by hour
-- question: Did something slow us down?
-- table: ad_requests
-- parameter d0: first day, by event_date in UTC
-- parameter d1: last day, included
-- column hour_utc: the hour in which requests were received
-- column requests: accepted requests
-- column handler_us_p50: microseconds from the whole request to the put, median
-- column handler_us_p90: the same, 90th percentile
-- column handler_us_p99: the same, 99th percentile
-- column stream_lag_ms_p50: milliseconds from receipt to enrichment, median
-- column stream_lag_ms_p99: the same, 99th percentile
SELECT date_trunc('hour', received_ts) AS hour_utc,
       count(*) AS requests,
       approx_percentile(handler_us, 0.5) AS handler_us_p50,
       approx_percentile(handler_us, 0.9) AS handler_us_p90,
       approx_percentile(handler_us, 0.99) AS handler_us_p99,
       approx_percentile(date_diff('millisecond', received_ts, enriched_ts), 0.5) AS stream_lag_ms_p50,
       approx_percentile(date_diff('millisecond', received_ts, enriched_ts), 0.99) AS stream_lag_ms_p99
FROM ad_requests
WHERE event_date BETWEEN :d0 AND :d1
GROUP BY 1
ORDER BY 1
