-- Which services has nobody used for thirty days?
SELECT host, protocol, port, count(DISTINCT peer) AS peers, max(last_seen) AS last_seen
FROM connections, latest
WHERE direction = 'in' AND answered
GROUP BY host, protocol, port
HAVING max(last_seen) < any_value(latest.time) - INTERVAL 30 DAY
ORDER BY host, protocol, port;
