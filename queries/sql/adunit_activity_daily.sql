-- title: The ad units that asked most, by day
-- question: Which screens are busy, and which of them does nobody know?
-- table: imps
-- parameter d0: first day, by event_date in UTC
-- parameter d1: last day, included
-- column event_date: day in UTC
-- column adunit_id: the ad unit
-- column publisher_id: its publisher
-- column screen_known: whether the screens table has it
-- column imps: offered opportunities (plays)
-- column impressions: audience impressions offered: the sum of the multipliers
-- column active_hours: different hours of the day with a request
-- column first_ts: the first request of the day
-- column last_ts: the last request of the day
SELECT event_date,
       adunit_id,
       max(publisher_id) AS publisher_id,
       screen_known,
       count(*) AS imps,
       CAST(sum(imp_qty_multiplier_e4) AS double) / 1e4 AS impressions,
       count(DISTINCT event_hour) AS active_hours,
       min(event_ts) AS first_ts,
       max(event_ts) AS last_ts
FROM imps
WHERE event_date BETWEEN :d0 AND :d1
  AND NOT test
GROUP BY event_date, adunit_id, screen_known
ORDER BY event_date, imps DESC, adunit_id
LIMIT 100
