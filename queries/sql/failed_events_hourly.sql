-- title: Failed events by hour and reason
-- question: Which tenant sends what we cannot process, and why?
-- table: failed_events
-- parameter d0: first day, by event_date in UTC
-- parameter d1: last day, included
-- column hour_utc: the hour in which they were received
-- column tenant_id: whose events they are; empty where that could not be read
-- column failure_type: kind of failure
-- column error_code: the rule or error
-- column error_path: JSON pointer to the place
-- column failed_events: different failures; a repeated attempt counts once
-- column attempts: rows, each an attempt
SELECT date_trunc('hour', received_ts) AS hour_utc,
       tenant_id,
       failure_type,
       error_code,
       error_path,
       count(DISTINCT failed_event_id) AS failed_events,
       count(*) AS attempts
FROM failed_events
WHERE event_date BETWEEN :d0 AND :d1
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 6 DESC, 4
