-- title: Ad requests by venue type and hour of the screen's own clock
-- question: Which kinds of places offer how many impressions, at which time of their day, and at what floor?
-- table: imps
-- parameter d0: first day, by event_date in UTC
-- parameter d1: last day, included
-- column venuetype_parent: OpenOOH venue type, first tier; empty for ad units that the screens table does not know
-- column local_hour: hour of the wall clock at the screen, 0 to 23
-- column imps: offered opportunities (plays)
-- column adunits: different ad units, estimated
-- column impressions: audience impressions offered: the sum of the multipliers
-- column floor_cur: currency of the floor cost
-- column floor_cost: what all the plays would cost at their floors, in units of the currency
SELECT venuetype_parent,
       local_hour,
       count(*) AS imps,
       approx_distinct(adunit_id) AS adunits,
       CAST(sum(imp_qty_multiplier_e4) AS double) / 1e4 AS impressions,
       imp_bidfloorcur AS floor_cur,
       CAST(sum(floor_cost_micros) AS double) / 1e6 AS floor_cost
FROM imps
WHERE event_date BETWEEN :d0 AND :d1
  AND NOT test
GROUP BY venuetype_parent, local_hour, imp_bidfloorcur
ORDER BY venuetype_parent NULLS LAST, local_hour NULLS LAST, floor_cur
