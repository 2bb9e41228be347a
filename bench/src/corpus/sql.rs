//! Batch SQL: aggregates, joins, common table expressions, window functions and merges.

use super::rng::Rng;
use super::words::Entity;
use super::workload::{Output, Workload};

pub(super) struct Script {
    pub(super) text: String,
    pub(super) inputs: Vec<String>,
    /// Set if the script uses the parameter `day`.
    pub(super) has_day: bool,
}

#[expect(clippy::many_single_char_names, reason = "the texts read more easily with short names in them")]
#[expect(clippy::too_many_lines, reason = "it is one list of texts, one for each shape of a script")]
pub(super) fn script(workload: &Workload, rng: &mut Rng) -> Script {
    let Output::Table(out) = &workload.output else { unreachable!("a SQL job writes a table") };
    let Entity { id, time, dimensions: [a, b, c], measures: [m, n], .. } = workload.entity;
    let mut inputs: Vec<String> = Vec::new();
    while inputs.len() < 3 {
        let table = workload.some_table(rng);
        if !inputs.contains(&table) {
            inputs.push(table);
        }
    }
    let [first, second, third] = [0, 1, 2].map(|at| inputs[at].clone());
    let low = rng.between(1, 90);
    let (used, text) = match rng.below(8) {
        0 => (1, format!("\
INSERT OVERWRITE {out} PARTITION (day = :day)
SELECT {a}, {b}, count(*) AS n, sum({m}) AS total_{m}, avg({n}) AS mean_{n}
FROM {first}
WHERE day = :day AND {m} > {low}
GROUP BY {a}, {b}
")),
        1 => (3, format!("\
INSERT OVERWRITE {out}
SELECT x.{id}, x.{a}, x.{b}, d.segment, x.{m} * coalesce(r.rate, 1.0) AS {m}_eur
FROM {first} AS x
JOIN {second} AS d ON d.{id} = x.{id}
LEFT JOIN {third} AS r ON r.{c} = x.{c} AND r.day = x.day
WHERE x.day = :day
")),
        2 => (1, format!("\
-- The last version of each row wins.
INSERT OVERWRITE {out}
WITH ranked AS (
  SELECT *, row_number() OVER (PARTITION BY {id} ORDER BY {time} DESC) AS rank
  FROM {first}
  WHERE day = :day
)
SELECT {id}, {a}, {b}, {c}, {m}, {n}, {time}
FROM ranked
WHERE rank = 1
")),
        3 => (1, format!("\
MERGE INTO {out} AS t
USING (SELECT {id}, {a}, max({time}) AS {time}, sum({m}) AS {m} FROM {first} WHERE day = :day GROUP BY {id}, {a}) AS s
ON t.{id} = s.{id}
WHEN MATCHED THEN UPDATE SET {m} = s.{m}, {time} = s.{time}
WHEN NOT MATCHED THEN INSERT ({id}, {a}, {time}, {m}) VALUES (s.{id}, s.{a}, s.{time}, s.{m})
")),
        4 => (2, format!("\
CREATE OR REPLACE TEMPORARY VIEW recent AS
SELECT {id}, {a}, {c}, {m}, {time} FROM {first}
WHERE {time} >= current_date() - INTERVAL {low} DAYS;

INSERT OVERWRITE {out}
SELECT /*+ BROADCAST(d) */ v.{a}, d.name, date_trunc('DAY', v.{time}) AS day, sum(v.{m}) AS {m}
FROM recent v JOIN {second} d ON v.{c} = d.id
GROUP BY v.{a}, d.name, date_trunc('DAY', v.{time})
HAVING sum(v.{m}) > 0
")),
        5 => (1, format!("\
INSERT OVERWRITE {out}
SELECT {a}, day, {m},
  avg({m}) OVER (PARTITION BY {a} ORDER BY day ROWS BETWEEN 6 PRECEDING AND CURRENT ROW) AS {m}_7d,
  {m} - lag({m}, 1) OVER (PARTITION BY {a} ORDER BY day) AS {m}_change
FROM {first}
WHERE day BETWEEN date_sub(:day, {low}) AND :day
")),
        6 => (2, format!("\
INSERT OVERWRITE {out} PARTITION (day)
SELECT {id}, {a}, {m}, 'web' AS origin, day FROM {first} WHERE day = :day
UNION ALL
SELECT {id}, {a}, {n}, 'store' AS origin, day FROM {second} WHERE day = :day AND {b} IS NOT NULL
")),
        _ => (2, format!("\
WITH base AS (
  SELECT f.{a}, f.{b}, f.{m}, CASE WHEN f.{n} > {low} THEN 'high' WHEN f.{n} IS NULL THEN 'none' ELSE 'low' END AS band
  FROM {first} f
  WHERE f.{b} IN (SELECT {b} FROM {second} WHERE active)
), totals AS (
  SELECT {a}, band, sum({m}) AS {m}, count(DISTINCT {b}) AS groups FROM base GROUP BY {a}, band
)
INSERT INTO {out}
SELECT {a}, band, {m}, groups, {m} / nullif(groups, 0) AS share FROM totals
")),
    };
    inputs.truncate(used);
    let has_day = text.contains(":day");
    Script { text, inputs, has_day }
}
