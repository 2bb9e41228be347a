INSERT OVERWRITE lake.mart.orders PARTITION (day)
SELECT o.id, o.customer, sum(l.price * l.quantity) AS amount, o.day
FROM lake.raw.orders o
JOIN lake.raw.order_lines l ON l.order_id = o.id
WHERE o.day = :day
GROUP BY o.id, o.customer, o.day
