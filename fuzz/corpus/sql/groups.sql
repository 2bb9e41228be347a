CREATE TEMPORARY FUNCTION IF NOT EXISTS a.b AS 'c';
SELECT d, e.f, g AS h, h + 1, sum(i) >>> 2, struct(*, j.*) FROM k GROUP BY 1, upper(l), h;
SELECT m, count(*) FROM n GROUP BY o, GROUPING SETS (GROUPING SETS ((p), ()), (q))
