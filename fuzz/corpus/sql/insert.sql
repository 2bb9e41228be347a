INSERT OVERWRITE lake.mart.t PARTITION (day = :day)
SELECT /*+ BROADCAST(b) */ a, count(*) AS n FROM x.y JOIN b USING (id) WHERE day = :day GROUP BY ALL -- end
