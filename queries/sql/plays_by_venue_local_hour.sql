-- title: Plays by venue type and hour of the screen's own clock
-- question: Where and at which time of their day do screens show ads, to how many people, and how often does it fail?
-- table: proof_of_plays
-- parameter d0: first day, by event_date in UTC
-- parameter d1: last day, included
-- column venuetype_parent: OpenOOH venue type, first tier; empty for ad units that the screens table does not know
-- column local_hour: hour of the wall clock at the screen when the play began, 0 to 23
-- column plays: plays that were reported, completed or not
-- column completed: share of them that was shown to its end
-- column adunits: different ad units, estimated
-- column impressions: audience impressions: the sum of the multipliers of completed plays
SELECT venuetype_parent,
       local_hour,
       count(*) AS plays,
       CAST(count_if(play_status = 'completed') AS double) / count(*) AS completed,
       approx_distinct(adunit_id) AS adunits,
       CAST(sum(CASE WHEN play_status = 'completed' THEN multiplier_e4 ELSE 0 END) AS double) / 1e4 AS impressions
FROM proof_of_plays
WHERE event_date BETWEEN :d0 AND :d1
  AND NOT coalesce(test, false)
GROUP BY venuetype_parent, local_hour
ORDER BY venuetype_parent NULLS LAST, local_hour NULLS LAST
